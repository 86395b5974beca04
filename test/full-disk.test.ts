/** A disk that fills while something is written: a clear error, the earlier file whole, no half of a new one. Needs `npm run build:ts`. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const script = join(dirname(fileURLToPath(import.meta.url)), 'full-disk-writes.mjs');

let folder: string;
let inputs: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'pointsman-full-'));
  inputs = mkdtempSync(join(tmpdir(), 'pointsman-inputs-'));
  const log = (count: number, words: (i: number) => string) =>
    Array.from({ length: count }, (_, i) =>
      JSON.stringify({
        conversation: [{ role: 'user', content: `question ${words(i)}` }],
        user: `user ${i}`,
        expert: `expert ${i % 3}`,
        score: (i % 4) / 3,
      }),
    ).join('\n');
  writeFileSync(
    join(inputs, 'few.jsonl'),
    log(40, (i) => String(i % 5)),
  );
  writeFileSync(
    join(inputs, 'many.jsonl'),
    log(9000, (i) => `${(i * 7919) % 99991} about ${(i * 104729) % 99989} of ${i}`),
  );
});
afterAll(() => {
  for (const each of [folder, inputs]) rmSync(each, { recursive: true });
});

interface Report {
  kind: string;
  code?: string;
  message?: string;
  /** Files that were not there before. */
  left: string[];
  whole: true | string;
  /** Whether it can be written once there is room. */
  again?: true | string;
}

async function reports(command: string, args: string[]): Promise<Report[]> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let [out, err] = ['', ''];
  child.stdout.on('data', (chunk) => {
    out += chunk;
  });
  child.stderr.on('data', (chunk) => {
    err += chunk;
  });
  const status = await new Promise((resolve) => child.on('close', resolve));
  expect({ status, err }).toEqual({ status: 0, err: '' });
  return out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
}

function check(all: Report[], reason: RegExp) {
  expect(all.map(({ kind }) => kind)).toEqual([
    'snapshot',
    'model',
    'beliefs',
    'checkpoint',
    'factors',
    'interactions',
    'score table',
    'imported log',
    'judge cache',
  ]);
  for (const { kind, code, message, left, whole } of all) {
    expect.soft({ kind, code, left, whole }).toEqual({ kind, code: 'FILE_IO', left: [], whole: true });
    expect.soft(message, kind).toMatch(reason);
  }
}

/** How to have a small file system of one's own, in a mount namespace; undefined where the system does not let us. */
function mountable(): string[] | undefined {
  if (process.platform !== 'linux') return undefined;
  return [['-m'], ['-r', '-m']].find((options) => {
    const tried = spawnSync('unshare', [...options, 'mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', tmpdir()]);
    return tried.status === 0;
  });
}

const namespace = mountable();

describe('a full disk', () => {
  it.runIf(namespace)(
    `leaves every earlier file whole${namespace ? '' : ' (SKIPPED: no file system can be mounted here, which needs Linux with unshare and the right to)'}`,
    async () => {
      const inside = 'mount -t tmpfs -o size=4m tmpfs "$1" && exec "$2" "$3" "$1" disk "$4"';
      const all = await reports('unshare', [
        ...(namespace as string[]),
        'sh',
        '-c',
        inside,
        'sh',
        folder,
        process.execPath,
        script,
        inputs,
      ]);
      check(all, /ENOSPC|No space left on device|no space left/);
      expect(all.map(({ kind, again }) => [kind, again])).toEqual(all.map(({ kind }) => [kind, true]));
    },
    120_000,
  );

  it.runIf(process.platform !== 'win32')(
    'or the largest size of a file (ulimit) does the same',
    async () => {
      // In units of 512 bytes, as POSIX has it (dash); bash counts in 1024.
      const inside = 'ulimit -f 128 && exec "$2" "$3" "$1" limit "$4"';
      check(await reports('sh', ['-c', inside, 'sh', folder, process.execPath, script, inputs]), /EFBIG|File too large|file too large/);
    },
    120_000,
  );
});
