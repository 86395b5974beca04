/** Past the TypeScript wall: whatever JavaScript hands to the addon, it answers with an error and lives on. */
import { describe, expect, it } from 'vitest';
import { packIds } from '../src/engine/options.js';
import { ERROR_CODES } from '../src/errors.js';
import { native } from '../src/native.js';
import { Random } from '../src/random.js';

// biome-ignore lint/suspicious/noExplicitAny: the point is to call with anything
const addon = native() as any;

const detached = new Float32Array(4);
structuredClone(detached.buffer, { transfer: [detached.buffer] });
const throwing = new Proxy([], {
  get() {
    throw new Error('trap');
  },
});

const STRANGE: unknown[] = [
  undefined,
  null,
  true,
  0,
  -1,
  1.5,
  2 ** 32,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  '',
  'text',
  Symbol('s'),
  10n,
  {},
  [],
  [1, 2],
  [{}],
  ['a', undefined],
  new Array(5),
  throwing,
  () => 1,
  new Float32Array(0),
  new Float32Array([1, 2, 3, 4]),
  new Float32Array(5).subarray(1),
  new Float32Array([Number.NaN, 1, 2, 3]),
  new Float64Array(4),
  new Uint32Array([0, 1, 4_000_000_000]),
  new Uint8Array(7),
  new DataView(new ArrayBuffer(8)),
  new ArrayBuffer(16),
  new Float32Array(new SharedArrayBuffer(16)),
  detached,
  Object.create(addon.Filter.prototype),
  Object.create(addon.Index.prototype),
  Object.create(addon.Batch.prototype),
];

/** Calls and awaits; a thrown or rejected error must carry a code of the table (or be the argument's own). */
async function survive(act: () => unknown): Promise<void> {
  try {
    const result = act() as { promise?: Promise<unknown> } | undefined;
    await result?.promise;
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    // node-addon-api's own words for a receiver that wraps nothing.
    if (message === 'trap' || message === 'Invalid argument' || error instanceof TypeError) return;
    expect(ERROR_CODES).toHaveProperty(String(code));
  }
}

describe('the addon called directly', () => {
  const index = new addon.Index(4, 1, 'cpu');
  const methods = Object.getOwnPropertyNames(addon.Index.prototype).filter((m) => m !== 'constructor' && m !== 'close' && m !== 'save');

  it('has the methods this test is about', () => {
    expect(methods).toEqual(expect.arrayContaining(['upsert', 'remove', 'search', 'searchSync', 'filter', 'idOf', 'vector', 'resolver']));
  });

  it('survives random arguments to every method, constructor and receiver', async () => {
    const random = new Random(11);
    const any = () => STRANGE[random.below(STRANGE.length)];
    const batch = new addon.Batch(4, new Float32Array(8), 2);
    batch.addIds(...packIds(['a', 'b']));
    await index.upsert(batch).promise;
    for (let round = 0; round < 4000; round++) {
      const args = Array.from({ length: random.below(6) }, any);
      const method = methods[random.below(methods.length)] as string;
      await survive(() => index[method](...args));
      await survive(() => new addon.Batch(...args));
      await survive(() => new addon.Filter(...args));
      await survive(() => new addon.Batch(4, new Float32Array(8), 2).addIds(...args));
      await survive(() => addon.doctor(...args));
      await survive(() => index.resolver()(...args));
      if (round % 10 === 0) {
        await survive(() => new addon.Index(...args));
        await survive(() => addon.Index.open(...args));
        await survive(() => addon.Index.prototype[method].call(any(), ...args));
        await survive(() => addon.Index.prototype[method].call(batch, ...args));
        await survive(() => addon.Batch.prototype.addIds.call(index, ...args));
      }
    }
    expect((await index.search(new Float32Array([1, 0, 0, 0]), 2).promise).byteLength).toBe(4 * (1 + 2 + 2));
  });

  it('checks what memory safety rests on', async () => {
    const code = (act: () => unknown) => {
      try {
        act();
      } catch (error) {
        return (error as { code?: string }).code;
      }
      return 'none';
    };
    expect(code(() => new addon.Batch(4, new Float32Array(7), 2))).toBe('WRONG_SHAPE');
    expect(code(() => new addon.Batch(4, detached, 0))).toBe('DETACHED_BUFFER');
    const short = new addon.Batch(4, new Float32Array(8), 2);
    short.addIds(...packIds(['only one']));
    expect(code(() => index.upsert(short))).toBe('WRONG_SHAPE');
    const wide = new addon.Batch(5, new Float32Array(5), 1);
    wide.addIds(...packIds(['x']));
    expect(code(() => index.upsert(wide))).toBe('WRONG_SHAPE');
    const once = new addon.Batch(4, new Float32Array(4), 1);
    once.addIds(...packIds(['once']));
    await index.upsert(once).promise;
    expect(code(() => index.upsert(once))).toBe('BAD_ARGUMENT');
    const text = new Uint8Array([97, 98, 99]);
    for (const ends of [[], [2], [0, 3], [2, 2, 3], [2, 1, 3], [1, 4], [4_000_000_000]]) {
      const batch = new addon.Batch(4, new Float32Array(8), 2);
      expect(code(() => batch.addIds(text, new Uint32Array(ends)))).toBe('BAD_ARGUMENT');
      expect(code(() => index.remove(text, new Uint32Array(ends)))).toBe('BAD_ARGUMENT');
      expect(code(() => index.filter(text, new Uint32Array(ends), false))).toBe('BAD_ARGUMENT');
      batch.addIds(text, new Uint32Array([1, 3])); // what was refused has left nothing behind
      await index.upsert(batch).promise;
    }
    expect(index.has('bc')).toBe(true);
    expect(code(() => index.resolver()(new Uint32Array([4_000_000_000])))).toBe('UNKNOWN_HANDLE');
    expect(code(() => index.searchSync(new Float32Array(4), 5000))).toBe('BAD_K');
    await expect(index.search(new Float32Array(3), 1).promise).rejects.toMatchObject({ code: 'WRONG_SHAPE' });
  });
});
