/** The command as a process of its own: what an interrupt and a closed pipe do to it. Needs `npm run build`. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const main = join(root, 'dist', 'cli', 'main.js');
const sample = join(root, 'examples', 'data', 'community.jsonl.gz');

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'pointsman-process-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const end = (child: ReturnType<typeof spawn>) => new Promise<number | null>((resolve) => child.on('close', resolve));

describe('the process', () => {
  it('an interrupt ends learning cleanly: exit code 130, no model', async () => {
    const out = join(folder, 'model');
    const child = spawn(process.execPath, [main, 'learn', '--data', sample, '--out', out, '--progress']);
    let err = '';
    child.stderr.on('data', (chunk: Buffer) => {
      if (err === '') setTimeout(() => child.kill('SIGINT'), 300);
      err += chunk;
    });
    expect(await end(child)).toBe(130);
    expect(err).toMatch(/error: .*aborted.* \(ABORTED\)\n$/);
    expect(existsSync(out)).toBe(false);
  });

  it('a reader that leaves early is no error', async () => {
    const child = spawn(process.execPath, [main, 'doctor', '--json'], { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout?.destroy();
    let err = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      err += chunk;
    });
    expect(await end(child)).toBe(0);
    expect(err).toBe('');
  });
});
