/** The checks of scripts/boundaries.mjs and scripts/files.mjs must catch what they are there for. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';

const scratch = mkdtempSync(join(tmpdir(), 'pointsman-habits-'));
afterAll(() => rmSync(scratch, { recursive: true }));
let projects = 0;

/** Runs a check on a project of these files. */
function check(script: string, files: Record<string, string>) {
  const root = join(scratch, String(projects++));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), text);
  }
  const path = fileURLToPath(new URL(`../scripts/${script}.mjs`, import.meta.url));
  const { status, stderr } = spawnSync(process.execPath, [path, root], { encoding: 'utf8' });
  return { status, stderr };
}

describe('boundaries', () => {
  it.each<[string, Record<string, string>]>([
    ['engine must not know route', { 'src/engine/a.ts': "import { x } from '../route/b.js';", 'src/route/b.ts': '' }],
    ['engine must not know encode', { 'src/engine/a.ts': "export type { X } from '../encode/b.js';" }],
    ['evaluate must not know engine', { 'src/evaluate/a.ts': "import type { X } from '../engine/index.js';" }],
    ['evaluate must not know learn', { 'src/evaluate/a.ts': "const x = await import('../learn/index.js');" }],
    ['learn must not know cli', { 'src/learn/a.ts': "import '../cli/main.js';" }],
    ['index must not know cli', { 'src/index.ts': "export * from './cli/main.js';" }],
    ['errors must not know native', { 'src/errors.ts': "import { native } from './native.js';" }],
    ['one file of route', { 'src/route/a.ts': "import '../learn/m.js';", 'src/route/b.ts': "import '../learn/m.js';" }],
    ['outside of src', { 'src/cli/main.ts': "import '../../scripts/x.mjs';" }],
    ['only src/native.ts may', { 'src/engine/a.ts': "require('node-gyp-build')(root);" }],
    ['only src/native.ts may', { 'src/engine/a.ts': "require('../../build/Release/pointsman.node');" }],
    ['has no rule', { 'src/utils/a.ts': '' }],
    ['has no rule', { 'native/misc/a.cpp': '' }],
    ['belongs in addon/', { 'native/core/a.cpp': '#include <napi.h>\n' }],
    ['belongs in cuda/', { 'native/core/a.cpp': '#include <cuda_runtime.h>\n' }],
    ['belongs in cpu/kernels_*', { 'native/cpu/tiles.cpp': '#include <immintrin.h>\n' }],
    ['belongs in cpu/kernels_*', { 'native/core/a.hpp': '#include <arm_neon.h>\n' }],
    ['core must not know cpu', { 'native/core/a.cpp': '#include "cpu/b.hpp"\n', 'native/cpu/b.hpp': '' }],
    ['cpu must not know core', { 'native/cpu/a.cpp': '#include "../core/b.hpp"\n', 'native/core/b.hpp': '' }],
    ['train must not know text', { 'native/train/a.cpp': '#include "text/b.hpp"\n', 'native/text/b.hpp': '' }],
    ['include must not know core', { 'native/include/pointsman/a.hpp': '#include "core/b.hpp"\n', 'native/core/b.hpp': '' }],
  ])('catches: %s', (complaint, files) => {
    const { status, stderr } = check('boundaries', files);
    expect(stderr).toContain(complaint);
    expect(status).toBe(1);
  });

  it('passes what is allowed', () => {
    const { status, stderr } = check('boundaries', {
      'src/types.ts': '',
      'src/native.ts': "require('node-gyp-build')(root); import './errors.js';",
      'src/engine/index.ts': "import { native } from '../native.js'; import './options.js'; import 'node:fs';",
      'src/learn/index.ts': "import '../engine/index.js'; import '../encode/index.js';",
      'src/route/open.ts': "import '../learn/index.js';",
      'src/cli/main.ts': "import '../route/open.js'; import '../evaluate/a.js';",
      'native/include/pointsman/a.hpp': '#include <vector>\n',
      'native/cpu/kernels_avx2.cpp': '#include <immintrin.h>\n#include "pointsman/a.hpp"\n',
      'native/core/a.cpp': '#include "core/a.hpp"\n#include "pointsman/a.hpp"\n',
      'native/core/a.hpp': '',
      'native/addon/a.cpp': '#include <napi.h>\n#include "core/a.hpp"\n',
    });
    expect(stderr).toBe('');
    expect(status).toBe(0);
  });
});

describe('files', () => {
  it('catches sources that are too long', () => {
    const { status, stderr } = check('files', {
      'src/long.ts': '\n'.repeat(500),
      'src/short.ts': '\n'.repeat(499),
      'data.md': '\n'.repeat(900),
    });
    expect(stderr).toBe('src/long.ts: 501 lines; 500 are the limit\n');
    expect(status).toBe(1);
  });

  it('catches a path of one machine, but not a part of a URL', () => {
    const home = ['', 'home', 'someone', 'x'].join('/');
    const { status, stderr } = check('files', { 'a.md': `fine: https://example.org${home}\nnot: ${home}\n`, 'b.json': `{"a":"${home}"}` });
    expect(stderr).toBe('a.md:2: names a folder of one machine\nb.json:1: names a folder of one machine\n');
    expect(status).toBe(1);
  });
});
