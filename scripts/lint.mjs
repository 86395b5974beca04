// Every habit that a machine can check: format and lint of both languages, dependency direction, file rules, the
// pages that are generated. `--fix` mends what it can instead of complaining.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const fix = process.argv.includes('--fix');
const cpp = ['native', 'bench/peers'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true })
    .filter((name) => /\.(cpp|hpp|cu|cuh)$/.test(name) && !name.includes('node_modules'))
    .map((name) => join(folder, name)),
);

const results = [
  run('node_modules/.bin/biome', ['check', '--error-on-warnings', ...(fix ? ['--write'] : [])]),
  run('clang-format', fix ? ['-i', ...cpp] : ['--dry-run', '-Werror', ...cpp]),
  run(process.execPath, ['scripts/boundaries.mjs']),
  run(process.execPath, ['scripts/files.mjs']),
];
if (existsSync(join(root, 'dist/index.js'))) {
  for (const page of ['errors-page', 'readme-tables']) {
    results.push(run(process.execPath, [`scripts/${page}.mjs`, ...(fix ? [] : ['--check'])]));
  }
}

if (results.includes(false)) {
  console.error(`lint: failed${fix ? '' : '; npm run format repairs what is only format'}`);
  process.exit(1);
}
console.log('lint: passed');

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (error?.code === 'ENOENT') {
    console.log(`lint: SKIPPED ${command}, which is not installed`);
    return true;
  }
  return status === 0;
}
