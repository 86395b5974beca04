// Builds the addon with CMake into build/Release, where the package looks first. Works in a clone and in an installed
// package: it needs CMake 3.25, a C++20 compiler and the two packages of headers among the dependencies, no network.
//
//   node scripts/build-from-source.mjs [--arch arm64] [--config Release] [--define NAME=VALUE]… [--tree build/cmake]
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const require = createRequire(import.meta.url);

const { values } = parseArgs({
  options: {
    arch: { type: 'string', default: process.arch },
    config: { type: 'string', default: 'Release' },
    define: { type: 'string', multiple: true, default: [] },
    tree: { type: 'string', default: 'build/cmake' },
  },
});

const definitions = {
  CMAKE_BUILD_TYPE: values.config,
  CMAKE_JS_INC: `${require('node-api-headers').include_dir};${dirname(require.resolve('node-addon-api/package.json'))}`,
  POINTSMAN_OUTPUT: `build/${values.config}`,
};
if (values.arch !== process.arch) {
  if (process.platform !== 'linux' || values.arch !== 'arm64') {
    fail(`No cross-build is defined from ${process.platform}-${process.arch} to ${values.arch}.`);
  }
  definitions.CMAKE_TOOLCHAIN_FILE = join(root, 'cmake/aarch64-linux-gnu.cmake');
}

const defines = [...Object.entries(definitions).map(([name, value]) => `${name}=${value}`), ...values.define];
cmake(['-S', root, '-B', values.tree, ...defines.map((define) => `-D${define}`)]);
cmake(['--build', values.tree, '--config', values.config, '--parallel', String(availableParallelism())]);

function cmake(args) {
  const { status, error } = spawnSync('cmake', args, { cwd: root, stdio: 'inherit' });
  if (error?.code === 'ENOENT') fail('CMake was not found. pointsman builds with CMake 3.25 or later and a C++20 compiler.');
  if (status !== 0) fail(`cmake ${args.join(' ')}\nended with ${status ?? error}`);
}

function fail(message) {
  console.error(message);
  process.exit(1);
}
