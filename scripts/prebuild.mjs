// Makes prebuilds/<platform>-<arch>/pointsman.<libc>.node with prebuildify and checks what it asks of a system.
//
//   npm run prebuild -- [--arch arm64] [--if-stale] [--max-glibc 2.28]
//
// It builds in a copy, because node-gyp empties build/ and with it the build of development.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { tooNew } from './elf.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const SOURCES = ['CMakeLists.txt', 'binding.gyp', 'cmake', 'native', 'package.json', 'scripts/build-from-source.mjs'];

const { values } = parseArgs({
  options: {
    arch: { type: 'string', default: process.arch },
    'if-stale': { type: 'boolean', default: false },
    // What a build on Debian 12 may ask for at most: what Ubuntu 22.04 has, too.
    // Releases are built in a container with glibc 2.28 and ask for less: --max-glibc 2.28 --max-glibcxx 3.4.25.
    'max-glibc': { type: 'string', default: '2.35' },
    'max-glibcxx': { type: 'string', default: '3.4.30' },
  },
});
const folder = join(root, 'prebuilds', `${process.platform}-${values.arch}`);

if (values['if-stale'] && isFresh()) {
  console.log(`${folder} is newer than its sources`);
} else {
  build();
}
check();

function isFresh() {
  const built = binaries().map((file) => statSync(file).mtimeMs);
  return built.length > 0 && Math.min(...built) > Math.max(...SOURCES.map((source) => newest(join(root, source))));
}

function newest(path) {
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return Math.max(0, ...readdirSync(path).map((name) => newest(join(path, name))));
}

function binaries() {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.endsWith('.node') || name.endsWith('.so'))
    .map((name) => join(folder, name));
}

function build() {
  const stage = join(root, 'build-prebuild');
  rmSync(stage, { recursive: true, force: true });
  for (const source of SOURCES) cpSync(join(root, source), join(stage, source), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(stage, 'node_modules'));

  // node-gyp would fetch Node's headers; our target compiles nothing with them, so empty settings do.
  const headers = join(stage, 'headers/include/node');
  mkdirSync(headers, { recursive: true });
  for (const name of ['common.gypi', 'config.gypi']) writeFileSync(join(headers, name), '{}\n');

  const cross = values.arch !== process.arch;
  const prebuildify = createRequire(import.meta.url).resolve('prebuildify/bin.js');
  const args = ['--napi', '--strip', '--tag-libc', '--target', process.versions.node, '--arch', values.arch, '--out', root];
  if (cross) args.push('--strip-bin', 'aarch64-linux-gnu-strip');
  rmSync(folder, { recursive: true, force: true });
  const { status } = spawnSync(process.execPath, [prebuildify, ...args], {
    cwd: stage,
    stdio: 'inherit',
    env: { ...process.env, npm_config_nodedir: join(stage, 'headers'), POINTSMAN_CUDA: 'OFF' }, // a package of its own
  });
  if (status !== 0) fail(`prebuildify ended with ${status}`);
  rmSync(stage, { recursive: true });
}

function check() {
  if (process.platform !== 'linux') return;
  for (const file of binaries()) {
    for (const [library, limit] of [
      ['GLIBC', values['max-glibc']],
      ['GLIBCXX', values['max-glibcxx']],
    ]) {
      const why = tooNew(file, library, limit);
      if (why) fail(why);
    }
  }
}

function fail(message) {
  console.error(message);
  process.exit(1);
}
