/** ExpertIndex: its promises to callers beyond exactness. */
import { execFileSync } from 'node:child_process';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ExpertIndex } from '../src/engine/index.js';
import { Random } from '../src/random.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pointsman-engine-'));
});
afterAll(() => rm(folder, { recursive: true }));

function vectors(count: number, dimensions: number, seed = 1): Float32Array {
  const random = new Random(seed);
  return new Float32Array(count * dimensions).map(() => random.uniform() - 0.5);
}
const names = (count: number, prefix = 'm') => Array.from({ length: count }, (_, i) => `${prefix}${i}`);
const coded = (code: string) => expect.objectContaining({ name: 'PointsmanError', code });

describe('ids and handles', () => {
  it('keeps the handle of an expert until it is removed and never gives it out again', async () => {
    const index = new ExpertIndex({ dimensions: 2 });
    await index.upsert(['a', 'b'], new Float32Array([1, 0, 0, 1]));
    await index.upsert(['b'], new Float32Array([5, 5]));
    expect(index.handleOf('b')).toBe(1);
    expect(index.vector('b')).toEqual(new Float32Array([5, 5]));
    const before = await index.search(new Float32Array([1, 1]), { k: 5 });
    expect(await index.remove(['b', 'nobody'])).toBe(1);
    await index.upsert(['b'], new Float32Array([2, 2]));
    expect(index.handleOf('b')).toBe(2);
    expect(before.ids(0)).toEqual(['b', 'a']); // resolves against what was searched
    expect(() => index.idOf(1)).toThrow(coded('UNKNOWN_HANDLE'));
    expect(index.idOf(2)).toBe('b');
    expect([...index.ids()]).toEqual(['a', 'b']);
    expect(index.vector('nobody')).toBeUndefined();
    expect(index.has('nobody')).toBe(false);
  });

  it('takes any Unicode id', async () => {
    const index = new ExpertIndex({ dimensions: 1 });
    const ids = ['普通话', '🦊 fox', 'naïve', 'a\0b', '\ud800'.toWellFormed()];
    await index.upsert(ids, new Float32Array([5, 4, 3, 2, 1]));
    expect((await index.search(new Float32Array([1]), { k: 9 })).ids(0)).toEqual(ids);
  });

  it('takes ids of any length', async () => {
    const index = new ExpertIndex({ dimensions: 1 });
    const ids = ['x', 'é', '漢', '🦊'].flatMap((sign) => Array.from({ length: 80 }, (_, n) => sign.repeat(n + 1)));
    await index.upsert(ids, vectors(ids.length, 1));
    expect([...index.ids()]).toEqual(ids);
    expect(await index.remove(ids.slice(40))).toBe(ids.length - 40);
    expect(ids.filter((id) => index.has(id))).toEqual(ids.slice(0, 40));
  });

  it('copies its input at the call', async () => {
    const index = new ExpertIndex({ dimensions: 2 });
    const input = new Float32Array([1, 2]);
    const ids = ['a'];
    const upserted = index.upsert(ids, input);
    input.fill(99);
    ids[0] = 'z';
    await upserted;
    const query = new Float32Array([1, 0]);
    const searched = index.search(query, { k: 1 });
    query.fill(0);
    expect((await searched).scores[0]).toBe(1);
    expect(index.has('a')).toBe(true);
  });
});

describe('bad input', () => {
  const index = new ExpertIndex({ dimensions: 3 });
  const one = new Float32Array(3);
  const { proxy: gone, revoke } = Proxy.revocable<string[]>([], {});
  revoke();
  const pipe = () => {
    execFileSync('mkfifo', [join(folder, 'pipe')]);
    return join(folder, 'pipe');
  };
  const cases: [string, string, () => unknown][] = [
    ['dimensions 0', 'BAD_DIMENSIONS', () => new ExpertIndex({ dimensions: 0 })],
    ['dimensions 2.5', 'BAD_DIMENSIONS', () => new ExpertIndex({ dimensions: 2.5 })],
    ['dimensions 4097', 'BAD_DIMENSIONS', () => new ExpertIndex({ dimensions: 4097 })],
    ['no options', 'BAD_DIMENSIONS', () => new ExpertIndex(undefined as never)],
    ['threads 0', 'BAD_ARGUMENT', () => new ExpertIndex({ dimensions: 1, threads: 0 })],
    ['an unknown backend', 'BAD_ARGUMENT', () => new ExpertIndex({ dimensions: 1, backend: 'tpu' as never })],
    ['too few numbers', 'WRONG_SHAPE', () => index.upsert(['a', 'b'], one)],
    ['a broken row', 'WRONG_SHAPE', () => index.upsert(['a'], new Float32Array(4))],
    ['a plain array', 'BAD_ARGUMENT', () => index.upsert(['a'], [1, 2, 3] as never)],
    ['a Float64Array', 'BAD_ARGUMENT', () => index.upsert(['a'], new Float64Array(3) as never)],
    ['NaN', 'NOT_FINITE', () => index.upsert(['a'], new Float32Array([1, Number.NaN, 1]))],
    ['infinity', 'NOT_FINITE', () => index.upsert(['a'], new Float32Array([1, Number.POSITIVE_INFINITY, 1]))],
    ['a huge norm', 'NORM_TOO_LARGE', () => index.upsert(['a'], new Float32Array([3e38, 0, 0]))],
    ['the same id twice', 'DUPLICATE_ID', () => index.upsert(['a', 'a'], new Float32Array(6))],
    ['an empty id', 'BAD_ARGUMENT', () => index.upsert([''], one)],
    ['half of a surrogate pair', 'BAD_ARGUMENT', () => index.upsert(['\ud800'], one)],
    ['half of a surrogate pair to find', 'BAD_ARGUMENT', () => index.has('\ud800')],
    ['ids that cannot be read', 'BAD_ARGUMENT', () => index.remove(new Proxy(['a'], { get: () => -3 }))],
    ['ids that are gone', 'BAD_ARGUMENT', () => index.remove(gone)],
    ['ids without methods', 'BAD_ARGUMENT', () => index.upsert(Object.setPrototypeOf([7], null), one)],
    ['a number as id', 'BAD_ARGUMENT', () => index.upsert([7] as never, one)],
    ['a query of another length', 'WRONG_SHAPE', () => index.search(new Float32Array(4), { k: 1 })],
    ['a NaN query', 'NOT_FINITE', () => index.search(new Float32Array([Number.NaN, 0, 0]), { k: 1 })],
    ['a search without options', 'BAD_K', () => index.search(one, undefined as never)],
    ['a search whose options are null', 'BAD_K', () => index.searchSync(one, null as never)],
    ['an upsert whose options are null', 'BAD_ARGUMENT', () => index.upsert(['a'], one, null as never)],
    ['a filter whose options are null', 'BAD_ARGUMENT', () => index.filter([], null as never)],
    ['a save whose options are null', 'BAD_ARGUMENT', () => index.save(join(folder, 'none'), null as never)],
    ['a filter that is half a complement', 'BAD_ARGUMENT', () => index.filter([], { complement: 'half' as never })],
    ['an opening whose options are null', 'BAD_ARGUMENT', () => ExpertIndex.open(join(folder, 'none'), null as never)],
    ['k = 0', 'BAD_K', () => index.search(one, { k: 0 })],
    ['k = 1.5', 'BAD_K', () => index.search(one, { k: 1.5 })],
    ['k = 5000', 'BAD_K', () => index.searchSync(one, { k: 5000 })],
    ['a foreign filter', 'BAD_ARGUMENT', () => index.search(one, { k: 1, filter: new ExpertIndex({ dimensions: 3 }).filter([]) })],
    ['something else as filter', 'BAD_ARGUMENT', () => index.search(one, { k: 1, filter: {} as never })],
    ['a missing file', 'FILE_IO', () => ExpertIndex.open(join(folder, 'missing'))],
    ['an empty path', 'BAD_ARGUMENT', () => ExpertIndex.open('')],
    ['a path with a zero byte', 'BAD_ARGUMENT', () => ExpertIndex.open('a\0b')],
    ['a path to save to with a zero byte', 'BAD_ARGUMENT', () => index.save(join(folder, 'a\0b'))],
    ['a folder as file', 'FILE_IO', () => ExpertIndex.open(folder)],
    ['a folder to save to', 'FILE_IO', () => index.save(folder)],
    ['a device as file', 'FILE_IO', () => ExpertIndex.open('/dev/null')],
    ['a device to save to', 'FILE_IO', () => index.save('/dev/null')],
    ['a pipe as file', 'FILE_IO', () => ExpertIndex.open(pipe())],
  ];
  it.each(cases)('%s gives %s', async (_, code, act) => {
    await expect((async () => act())()).rejects.toEqual(coded(code));
    expect(index.size).toBe(0);
  });

  it('of many ids tells which is bad', async () => {
    const ids: string[] = names(20_000);
    ids[16_390] = '';
    await expect(index.upsert(ids, new Float32Array(60_000))).rejects.toThrow(/^ids\[16390\] must be/);
    ids[16_390] = '\udc00';
    await expect(index.upsert(ids, new Float32Array(60_000))).rejects.toThrow(/^ids\[16390\] is not well-formed/);
  });

  it('of several bad rows tells the first, every time', async () => {
    const rows = new Float32Array(20_000 * 3);
    rows[3 * 4096] = 3e38;
    rows[3 * 4095] = Number.NaN;
    for (let n = 0; n < 20; n++) await expect(index.upsert(names(20_000), rows)).rejects.toThrow(/^vector 4095 contains NaN/);
  });

  it('refused upserts leave no copy of their rows behind', async () => {
    const before = process.memoryUsage().rss;
    const rows = new Float32Array(1e6);
    const ids = names(250).fill('', -1);
    const wide = new ExpertIndex({ dimensions: 4000 });
    for (let n = 0; n < 200; n++) await expect(wide.upsert(ids, rows)).rejects.toEqual(coded('BAD_ARGUMENT'));
    expect(process.memoryUsage().rss - before).toBeLessThan((200 * rows.byteLength) / 2);
  });

  it('a detached buffer is refused', async () => {
    const gone = new Float32Array(3);
    structuredClone(gone.buffer, { transfer: [gone.buffer] });
    await expect(index.search(gone, { k: 1 })).rejects.toEqual(coded('DETACHED_BUFFER'));
    await expect(index.upsert([], gone)).rejects.toEqual(coded('DETACHED_BUFFER'));
  });

  it("backend 'cuda' insists, with the reason", () => {
    const wanted = () => new ExpertIndex({ dimensions: 3, backend: 'cuda' });
    try {
      expect(wanted().stats().backend).toBe('cuda');
    } catch (error) {
      expect(error).toEqual(coded('BACKEND_UNAVAILABLE'));
    }
  });
});

describe('closing', () => {
  it('refuses new calls; running ones finish and their ids resolve', async () => {
    const index = new ExpertIndex({ dimensions: 64 });
    await index.upsert(names(20_000), vectors(20_000, 64));
    const running = index.search(vectors(200, 64), { k: 3 });
    index.close();
    index.close();
    const result = await running;
    expect(result.ids(199)).toHaveLength(3);
    await expect(index.search(new Float32Array(64), { k: 1 })).rejects.toEqual(coded('CLOSED'));
    await expect(index.upsert(['x'], new Float32Array(64))).rejects.toEqual(coded('CLOSED'));
    await expect(index.remove(['m1'])).rejects.toEqual(coded('CLOSED'));
    expect(() => index.has('m1')).toThrow(coded('CLOSED'));
    expect(() => index.size).toThrow(coded('CLOSED'));
  });
});

describe('aborting and progress', () => {
  it('an aborted search rejects, before or while it runs', async () => {
    const index = new ExpertIndex({ dimensions: 128 });
    await index.upsert(names(60_000), vectors(60_000, 128));
    await expect(index.search(vectors(1, 128), { k: 1, signal: AbortSignal.abort() })).rejects.toEqual(coded('ABORTED'));
    const controller = new AbortController();
    const long = index.search(vectors(3000, 128), { k: 10, signal: controller.signal });
    setTimeout(() => controller.abort(), 5);
    await expect(long).rejects.toEqual(coded('ABORTED'));
  });

  it('an aborted upsert changes nothing; a finished one has told its progress', async () => {
    const index = new ExpertIndex({ dimensions: 16 });
    const controller = new AbortController();
    const upserting = index.upsert(names(50_000), vectors(50_000, 16), { signal: controller.signal });
    controller.abort();
    await expect(upserting).rejects.toEqual(coded('ABORTED'));
    expect(index.size).toBe(0);
    const seen: number[] = [];
    await index.upsert(names(50_000), vectors(50_000, 16), {
      onProgress: ({ done, total }) => {
        expect(total).toBe(50_000);
        seen.push(done);
      },
    });
    expect(seen.at(-1)).toBe(50_000);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
  });
});

describe('the event loop', () => {
  it('keeps turning while a long search runs', async () => {
    const index = new ExpertIndex({ dimensions: 128, threads: 1 });
    await index.upsert(names(50_000), vectors(50_000, 128));
    const delay = monitorEventLoopDelay({ resolution: 1 });
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    delay.enable();
    await index.search(vectors(2000, 128), { k: 10 });
    delay.disable();
    clearInterval(timer);
    expect(turns).toBeGreaterThan(5);
  });

  it('many searches and writes at once all come back right', async () => {
    const index = new ExpertIndex({ dimensions: 24 });
    await index.upsert(names(5000), vectors(5000, 24));
    const query = vectors(1, 24, 9);
    const expected = (await index.search(query, { k: 10 })).ids(0);
    const far = new Float32Array(24); // scores 0: never among the best
    const work: Promise<unknown>[] = [];
    for (let i = 0; i < 200; i++) {
      work.push(index.search(query, { k: 10 }).then((result) => expect(result.ids(0)).toEqual(expected)));
      if (i % 4 === 0) work.push(index.upsert([`extra${i}`], far));
      if (i % 8 === 0) work.push(index.remove([`extra${i}`]));
    }
    await Promise.all(work);
    expect(index.size).toBe(5000 + 25);
    expect(index.stats().queries).toBeGreaterThan(200); // searches that queue are merged
    const { searchSeconds } = index.stats();
    const start = performance.now();
    index.searchSync(new Float32Array(4 * index.dimensions).fill(1), { k: 3 });
    const took = (performance.now() - start) / 1000;
    expect(index.stats().searchSeconds).toBeGreaterThan(searchSeconds);
    expect(index.stats().searchSeconds - searchSeconds).toBeLessThan(took);
  });
});

describe('snapshots', () => {
  it.each(['nobody closes', 'were closed'])('go with their indexes, with those that %s', async (which) => {
    const path = join(folder, 'forgotten.bin');
    const index = new ExpertIndex({ dimensions: 8 });
    await index.upsert(names(100_000), vectors(100_000, 8));
    await index.save(path);
    const before = process.memoryUsage().rss;
    const times = 80;
    for (let n = 0; n < times; n++) {
      const opened = await ExpertIndex.open(path);
      await opened.search(vectors(1, 8), { k: 1 });
      if (which === 'were closed') opened.close();
    }
    // An index takes as much as its ids and its file; the collector must have seen most of them go.
    expect(process.memoryUsage().rss - before).toBeLessThan((times / 2) * index.stats().bytes);
    index.close();
  });

  it('open gives what save wrote, and a torn or altered file is refused', async () => {
    const path = join(folder, 'index.bin');
    const index = new ExpertIndex({ dimensions: 33 });
    await index.upsert(names(3000), vectors(3000, 33));
    await index.remove(['m5']);
    await index.save(path);
    const queries = vectors(4, 33, 7);
    const wanted = await index.search(queries, { k: 9 });
    for (const verify of ['full', 'lazy'] as const) {
      const opened = await ExpertIndex.open(path, { verify });
      expect(opened.dimensions).toBe(33);
      const result = await opened.search(queries, { k: 9 });
      expect(result.scores).toEqual(wanted.scores);
      expect(result.ids(3)).toEqual(wanted.ids(3));
      opened.close();
    }
    const bytes = await readFile(path);
    const broken = join(folder, 'broken.bin');
    await writeFile(broken, bytes.subarray(0, bytes.length - 100));
    await expect(ExpertIndex.open(broken)).rejects.toEqual(coded('FILE_CORRUPT'));
    bytes[5000] = (bytes[5000] as number) ^ 1;
    await writeFile(broken, bytes);
    await expect(ExpertIndex.open(broken)).rejects.toEqual(coded('FILE_CORRUPT'));
    await writeFile(broken, 'not an index '.repeat(1000));
    await expect(ExpertIndex.open(broken)).rejects.toEqual(coded('FILE_VERSION'));
  });

  it('a save that fails leaves the old file and no temporary one', async () => {
    const home = await mkdtemp(join(folder, 'save-'));
    const path = join(home, 'index.bin');
    const index = new ExpertIndex({ dimensions: 4 });
    await index.upsert(['a'], new Float32Array(4));
    await index.save(path);
    const before = await stat(path);
    await expect(index.save(path, { signal: AbortSignal.abort() })).rejects.toEqual(coded('ABORTED'));
    await expect(index.save(join(home, 'none', 'x'))).rejects.toEqual(coded('FILE_IO'));
    expect((await stat(path)).mtimeMs).toBe(before.mtimeMs);
    await chmod(path, 0o600);
    await index.save(path);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readdir(home)).toEqual(['index.bin']);
  });
});

describe('worker threads', () => {
  it('search on their own index, and may end while a search runs', async () => {
    const code = (end: boolean) => `
      const { parentPort } = require('node:worker_threads');
      const addon = require('node-gyp-build')(${JSON.stringify(process.cwd())});
      const index = new addon.Index(32, 0, 'cpu');
      const rows = new Float32Array(20000 * 32).map((_, i) => Math.sin(i));
      const batch = new addon.Batch(32, rows, 20000);
      batch.addIds(Buffer.from(Array.from({ length: 20000 }, (_, i) => 'w' + (10000 + i)).join('')), Uint32Array.from({ length: 20000 }, (_, i) => 6 * (i + 1)));
      index.upsert(batch).promise.then(() => {
        const task = index.search(rows.subarray(0, 32 * 2000), 10);
        if (${end}) { parentPort.postMessage('ended'); process.exit(0); }
        task.promise.then((result) => parentPort.postMessage(result.byteLength / 4 / 21));
      });`;
    const runWorker = (end: boolean) =>
      new Promise((resolve, reject) => {
        const worker = new Worker(code(end), { eval: true });
        let message: unknown;
        worker.on('message', (m) => {
          message = m;
        });
        worker.on('error', reject);
        worker.on('exit', () => resolve(message));
      });
    const results = await Promise.all([runWorker(false), runWorker(true), runWorker(false), runWorker(true)]);
    expect(results).toEqual([2000, 'ended', 2000, 'ended']);
  });

  it('may be terminated at any moment of their work', async () => {
    const code = `
      const { parentPort } = require('node:worker_threads');
      const addon = require('node-gyp-build')(${JSON.stringify(process.cwd())});
      const index = new addon.Index(32, 0, 'cpu');
      const rows = new Float32Array(3000 * 32).map((_, i) => Math.sin(i));
      const load = () => {
        const batch = new addon.Batch(32, rows, 3000);
        batch.addIds(Buffer.from(Array.from({ length: 3000 }, (_, i) => 'w' + (1000 + i)).join('')), Uint32Array.from({ length: 3000 }, (_, i) => 5 * (i + 1)));
        return index.upsert(batch, () => {}).promise;
      };
      (async () => {
        await load();
        parentPort.postMessage('ready');
        for (;;) await Promise.all([load(), index.search(rows.subarray(0, 32 * 50), 10).promise, index.search(rows.subarray(0, 5), 1).promise.catch(() => {})]);
      })();`;
    for (let round = 0; round < 12; round++) {
      const worker = new Worker(code, { eval: true });
      await new Promise((resolve) => worker.once('message', resolve));
      await new Promise((resolve) => setTimeout(resolve, round * 3));
      expect(await worker.terminate()).toBe(1);
    }
  });
});
