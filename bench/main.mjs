// npm run bench -- <benchmark> [options]: each benchmark prints a table and writes JSON.
import { UsageError } from './options.mjs';

const BENCHMARKS = {
  search: 'exact search against peers, over batch sizes',
  micro: 'small calls from JavaScript: searchSync, search, has, filter; the event loop beside searches',
  build: 'building an index, saving and opening it, beside copying memory',
  factorise: 'collaborative factors: against numpy, or over the size of data on disk',
  online: 'going on learning on the synthetic sample, beside learning anew; what an update costs',
  encode: 'encoders by length of the conversation, beside the search that follows',
};

const [name, ...args] = process.argv.slice(2);
if (!name || name === '--help' || !(name in BENCHMARKS)) {
  console.log(`npm run bench -- <benchmark> [--help]\n`);
  for (const [key, what] of Object.entries(BENCHMARKS)) console.log(`  ${key.padEnd(10)}${what}`);
  process.exitCode = name && name !== '--help' ? 2 : 0;
} else {
  try {
    const { main } = await import(`./${name}.mjs`);
    await main(args);
  } catch (error) {
    // A wrong option, a wrong file, or a clone that was not built: their message says it all.
    const expected = error instanceof UsageError || typeof error.code === 'string';
    console.error(error.code === 'ERR_MODULE_NOT_FOUND' ? `${error.message}\nnpm ci && npm run compile` : expected ? error.message : error);
    process.exitCode = error instanceof UsageError ? 2 : 1;
  }
}
