/** How the core deals with plugins: told by made-up ones beside a copy of the addon, each in a process of its own. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'pointsman-backend-'));
afterAll(() => rmSync(scratch, { recursive: true }));
const addon = createRequire(import.meta.url)('node-gyp-build').path(process.env.POINTSMAN_PREBUILD ?? root) as string;
const compiler = ['c++', 'g++', 'clang++'].find((name) => spawnSync(name, ['--version']).status === 0);
const PACKAGE = `pointsman-cuda-${process.platform}-${process.arch}`;
let plugins = 0;

/** Compiles a plugin into a folder. */
function build(source: string, folder: string): string {
  const [file, library] = [join(folder, 'plugin.cpp'), join(folder, 'libpointsman_cuda.so')];
  writeFileSync(file, `#include "pointsman/backend.hpp"\n#include <cstring>\n${source}`);
  succeed(compiler as string, ['-std=c++20', '-shared', '-fPIC', `-I${join(root, 'native/include')}`, file, '-o', library]);
  return library;
}

/** What a command prints. */
function succeed(command: string, args: string[], env: NodeJS.ProcessEnv = process.env): string {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', env });
  if (status !== 0) throw new Error(`${stdout}${stderr}`);
  return stdout;
}

/** What a program prints as JSON with the library of this folder. */
function run(dist: string, program: string, env?: NodeJS.ProcessEnv) {
  const code = `
    import { ExpertIndex } from ${JSON.stringify(join(dist, 'index.js'))};
    const query = new Float32Array([1, 0]);
    ${program}`;
  return JSON.parse(succeed(process.execPath, ['--input-type=module', '--eval', code], env));
}

/** What a program prints as JSON with this plugin source beside the addon; null: none. */
function runWith(source: string | null, program: string) {
  const prebuild = join(scratch, String(plugins++));
  const folder = join(prebuild, 'build/Release');
  mkdirSync(folder, { recursive: true });
  copyFileSync(addon, join(folder, 'pointsman.node'));
  if (source !== null) build(source, folder);
  return run(join(root, 'dist'), program, { ...process.env, POINTSMAN_PREBUILD: prebuild });
}

const table = (search: string, { abi = 'POINTSMAN_BACKEND_ABI', probe = 'return 0;', maxK = 4096, maxDimensions = 4096 } = {}) => `
  static int probe(char* reason, size_t capacity) { (void)reason; (void)capacity; ${probe} }
  static int search(const pointsman_request* request, char* message, size_t capacity) {
    (void)request; (void)message; (void)capacity; ${search} }
  extern "C" const pointsman_backend pointsman_backend_table;
  const pointsman_backend pointsman_backend_table = {${abi}, "cuda", ${maxK}, ${maxDimensions}, probe, search, nullptr};`;

const SEARCH = `
  const index = new ExpertIndex({ dimensions: 2, backend });
  await index.upsert(['a', 'b'], new Float32Array([1, 0, 2, 0]));
  let ids, code, message;
  try { ids = (await index.search(query, { k: 1 })).ids(0); } catch (error) { ({ code, message } = error); }
  const { backend: used, backendReason: why } = index.stats();
  console.log(JSON.stringify({ ids, code, message, used, why }));`;
const auto = `const backend = 'auto';${SEARCH}`;
const insist = `const backend = 'cuda';${SEARCH}`;
const create = `
  try { new ExpertIndex({ dimensions: 2, backend: 'cuda' }); } catch ({ code, message }) { console.log(JSON.stringify({ code, message })); }`;

describe.skipIf(!existsSync(join(root, 'dist/index.js')) || !compiler)('a backend plugin', () => {
  it.each([
    ['no plugin', null, `not installed: no plugin beside the addon, and no package ${PACKAGE}`],
    ['one of another version of the table', table('return 0;', { abi: '999' }), 'has the ABI version 999, not 2'],
    ['one without a table', 'int nothing;', 'exports no backend table'],
    ['one that cannot run here', table('return 0;', { probe: 'strcpy(reason, "no such device"); return 1;' }), 'no such device'],
    ['one for fewer dimensions', table('return 0;', { maxDimensions: 1 }), 'it takes at most 1 dimensions'],
  ])('%s: the CPU answers and says why; who insists is refused', (_, source, reason) => {
    const { ids, used, why } = runWith(source, auto);
    expect({ ids, used }).toEqual({ ids: ['b'], used: 'cpu' });
    expect(why).toContain(reason);
    expect(runWith(source, create)).toEqual({ code: 'BACKEND_UNAVAILABLE', message: expect.stringContaining(reason) });
  });

  it('that answers is used', () => {
    const answers = table('request->handles[0] = 0; request->scores[0] = 7; request->counts[0] = 1; return 0;');
    expect(runWith(answers, auto)).toMatchObject({ ids: ['a'], used: 'cuda' });
  });

  it('is found in its npm package, but one beside the addon comes first', () => {
    const modules = join(scratch, 'node_modules');
    const [own, folder] = [join(modules, 'pointsman'), join(scratch, 'plugin')];
    for (const made of [join(own, 'build/Release'), folder]) mkdirSync(made, { recursive: true });
    cpSync(join(root, 'dist'), join(own, 'dist'), { recursive: true });
    copyFileSync(join(root, 'package.json'), join(own, 'package.json'));
    copyFileSync(addon, join(own, 'build/Release/pointsman.node'));
    symlinkSync(join(root, 'node_modules/node-gyp-build'), join(modules, 'node-gyp-build'));
    const library = build(table('request->handles[0] = 0; request->scores[0] = 7; request->counts[0] = 1; return 0;'), folder);
    const out = join(modules, PACKAGE);
    const { POINTSMAN_PREBUILD: _, ...env } = process.env;
    expect(run(join(own, 'dist'), auto, env)).toMatchObject({ used: 'cpu', why: expect.stringContaining(`no package ${PACKAGE}`) });
    succeed(process.execPath, [join(root, 'scripts/cuda-package.mjs'), '--plugin', library, '--out', out, '--max-glibc', '9']);
    const described = JSON.parse(readFileSync(join(out, 'package.json'), 'utf8'));
    expect(described).toMatchObject({ name: PACKAGE, os: [process.platform], cpu: [process.arch], files: ['libpointsman_cuda.so'] });
    expect(run(join(own, 'dist'), auto, env)).toMatchObject({ ids: ['a'], used: 'cuda', why: join(out, 'libpointsman_cuda.so') });
    writeFileSync(join(own, 'build/Release/libpointsman_cuda.so'), 'torn');
    expect(run(join(own, 'dist'), auto, env)).toMatchObject({ ids: ['b'], used: 'cpu', why: expect.stringContaining('no plugin: ') });
    rmSync(join(own, 'build/Release/libpointsman_cuda.so'));
    writeFileSync(join(out, 'libpointsman_cuda.so'), 'torn');
    expect(run(join(own, 'dist'), auto, env)).toMatchObject({ ids: ['b'], used: 'cpu', why: expect.stringContaining('no plugin: ') });
  });

  it('that fails in a search gives way to the CPU, unless it was insisted on', () => {
    // OUT_OF_MEMORY is the table's code plus one; what it wrote before must not be seen.
    const outOfMemory = `
      enum Code {
      #define POINTSMAN_ERROR(code, meaning) code,
      #include "pointsman/errors.def"
      };
      ${table('request->handles[0] = 0; request->counts[0] = 1; strcpy(message, "the card is full"); return OUT_OF_MEMORY + 1;')}`;
    const fallen = runWith(outOfMemory, auto);
    expect(fallen).toMatchObject({ ids: ['b'], used: 'cpu' });
    expect(fallen.why).toBe('cuda could not answer the last search: the card is full');
    expect(runWith(outOfMemory, insist)).toMatchObject({ code: 'OUT_OF_MEMORY', message: 'the cuda backend: the card is full' });
  });

  it('that gives fewer results than asked for', () => {
    const one = table('return 0;', { maxK: 0 });
    expect(runWith(one, auto)).toMatchObject({ ids: ['b'], used: 'cpu', why: expect.stringContaining('it gives at most 0 results') });
    expect(runWith(one, insist)).toMatchObject({ code: 'BACKEND_UNAVAILABLE' });
  });

  it('is not even looked for by who asks for the CPU', () => {
    const loud = `${table('return 0;')}
      #include <cstdio>
      static int loaded = puts("loaded");`;
    expect(runWith(loud, auto.replace("'auto'", "'cpu'"))).toMatchObject({ ids: ['b'], used: 'cpu', why: 'asked for' });
  });
});
