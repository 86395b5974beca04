// npm test: builds what is missing or stale, runs the C++ suite where doctest is installed, then vitest. Arguments are
// vitest's; with any, the C++ suite is left out: `npm test -- test/engine.test.ts`.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const TREE = 'build/cmake';
const args = process.argv.slice(2);

step('Building the addon', 'npm', ['run', '--silent', 'build:native']);
step('Compiling TypeScript', 'npm', ['run', '--silent', 'build:ts']);
const cppPassed = args.length > 0 || cppSuite();

const vitest = spawnSync('node_modules/.bin/vitest', ['run', ...args], { cwd: root, stdio: 'inherit' });
if (!cppPassed) console.error('The C++ suite failed: its report stands above that of vitest.');
process.exitCode = vitest.status === 0 && cppPassed ? 0 : 1;

function cppSuite() {
  // In the addon's own tree, so that the engine is compiled once for both.
  step('Configuring the C++ suite', 'cmake', ['-S', '.', '-B', TREE, '-DPOINTSMAN_TESTS=ON']);
  const cache = readFileSync(join(root, TREE, 'CMakeCache.txt'), 'utf8');
  if (/^POINTSMAN_DOCTEST:\w+=.*-NOTFOUND$/m.test(cache)) {
    console.log('SKIPPED the C++ suite: doctest is not installed (Debian: apt-get install doctest-dev).');
    return true;
  }
  step('Building the C++ suite', 'cmake', ['--build', TREE, '--target', 'pointsman_test', '--parallel', String(availableParallelism())]);
  return spawnSync(join(root, TREE, 'pointsman_test'), { cwd: root, stdio: 'inherit' }).status === 0;
}

/** Runs a command whose output matters only when it fails. */
function step(what, command, commandArgs) {
  console.log(`${what} …`);
  const { status, stdout, stderr, error } = spawnSync(command, commandArgs, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 28 });
  if (status === 0) return;
  console.error(`${stdout ?? ''}${stderr ?? ''}`);
  console.error(`${what} failed: ${command} ${commandArgs.join(' ')} ended with ${status ?? error}`);
  process.exit(1);
}
