// npm run bench -- <benchmark> [options]: each benchmark prints a table and writes JSON.
const BENCHMARKS = {
  search: 'exact search against peers, over batch sizes',
  encode: 'encoders by length of the conversation, beside the search that follows',
  micro: 'small calls from JavaScript (benchmark.js): searchSync, search, has, filter',
};

const [name, ...args] = process.argv.slice(2);
if (!name || name === '--help' || !(name in BENCHMARKS)) {
  console.log(`npm run bench -- <benchmark> [--help]\n`);
  for (const [key, what] of Object.entries(BENCHMARKS)) console.log(`  ${key.padEnd(10)}${what}`);
  process.exitCode = name && name !== '--help' ? 2 : 0;
} else {
  const { main } = await import(`./${name}.mjs`);
  await main(args);
}
