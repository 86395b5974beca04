import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { textAddon } from '../src/encode/addon.js';
import { featureColumns, HashingEncoder } from '../src/encode/index.js';
import { pack } from '../src/encode/pack.js';
import type { Conversation } from '../src/types.js';

const user = (content: string): Conversation => [{ role: 'user', content }];

function encoder(threads?: number) {
  const columns = featureColumns();
  const dimensions = 4;
  const projection = Float32Array.from({ length: columns * dimensions }, (_, i) => Math.sin(i));
  return new HashingEncoder({ dimensions, idf: new Float32Array(columns).fill(1), projection, threads });
}

describe('HashingEncoder', () => {
  it('encodes whole conversations, the same bits for every batch and thread count', async () => {
    const conversations = Array.from({ length: 60 }, (_, i) => user(`Question ${i}: was ist ${i * 17}? 你好 😀`));
    const all = await encoder(1).encode(conversations);
    expect(all.length).toBe(60 * 4);
    expect(await encoder(5).encode(conversations)).toEqual(all);
    expect(await encoder().encode(conversations.slice(7, 8))).toEqual(all.slice(28, 32));
  });

  it('looks at every message, weighed by role and recency', async () => {
    const once = await encoder().encode([user('hello')]);
    const twice = await encoder().encode([[{ role: 'system', content: 'be kind' }, ...user('hello')]]);
    expect(twice).not.toEqual(once);
    const [, , weights] = pack([
      [
        { role: 'user', content: 'a' },
        { role: 'assistant', content: 'b' },
        { role: 'user', content: 'c' },
      ],
    ]);
    expect([...weights]).toEqual([expect.closeTo(0.64), expect.closeTo(0.4), 1]);
  });

  it('takes any text: empty, lone surrogates, compatibility forms', async () => {
    const psi = await encoder().encode([user(''), user('\ud800 x'), user('ﬁne'), user('fine')]);
    expect(psi.every(Number.isFinite)).toBe(true);
    expect(psi.slice(8, 12)).toEqual(psi.slice(12, 16));
    expect(await encoder().encode([])).toEqual(new Float32Array(0));
  });

  it('has the features that earlier models were learned on', async () => {
    const conversations: Conversation[] = [
      user('What IS the area of a 3.5 cm circle?'),
      [
        { role: 'system', content: 'Be kind.\n' },
        { role: 'user', content: 'Straße, naïve “Zitat”; ＦＵＬＬ e\u0301 ΟΔΟΣ ΣΑΣ' },
        { role: 'assistant', content: '' },
        { role: 'user', content: 'int main() { return x1 + 42; }\t你好，世界 😀 \ud800' },
      ],
      user('antidisestablishmentarianism Antidisestablishmentarianism'),
    ];
    const { promise } = textAddon().textFeatures(...pack(conversations), new Float32Array(0), 1, undefined);
    const { starts, columns, values } = await promise;
    expect([...starts]).toEqual([0, 93, 321, 416]);
    const digest = createHash('sha256').update(new Uint8Array(columns.buffer, columns.byteOffset, columns.byteLength));
    expect(digest.digest('hex').slice(0, 16)).toBe('79c4e5c39b19918c');
    expect(values.reduce((sum, value) => sum + value, 0)).toBeCloseTo(419.6113, 3);
  });

  it('brings text to NFKC and lower case wherever it looks beyond ASCII', async () => {
    const gap = 'Plain Words That Reach From One To The Next ';
    const texts = ['ＡＢＣ Def', 'Éa ÉB é', 'ΟΔΟΣ ΟΔΟΣ. Σ', 'x e\u0301 \u0301y', 'PLAIN', '\u3000A\u00a0B ', '한\u1100\u1161 İI', ''];
    texts.push(`É ${gap}É`, `${gap.repeat(20)}É`, `É${gap.repeat(20)}`, `É a É ab É abcdefghijklmnop É\n${'É'.repeat(500)}`);
    const ngrams = async (of: readonly string[]) => {
      const { starts, columns, values } = await textAddon().textFeatures(...pack(of.map(user)), new Float32Array(0), 1, undefined).promise;
      const shapes = 2 ** 18; // how text looks comes behind words and characters, and does tell capitals
      return of.map((_, i) =>
        [...columns.subarray(starts[i], starts[i + 1])].flatMap((c, e) => (c < shapes ? [[c, values[(starts[i] as number) + e]]] : [])),
      );
    };
    expect(await ngrams(texts)).toEqual(await ngrams(texts.map((text) => text.normalize('NFKC').toLowerCase())));
  });

  it('counts a word as often as it comes, however many different ones there are', async () => {
    const words = Array.from({ length: 9000 }, (_, i) => `w${i}x`);
    const texts = [words.join(' '), [...words, ...words].join(' ')];
    const { starts, values } = await textAddon().textFeatures(...pack(texts.map(user)), new Float32Array(0), 1, undefined).promise;
    const [once, twice] = texts.map((_, i) =>
      // A value is log(1 + (e - 1)·count); what tells the look of the text counts once.
      values.subarray(starts[i], starts[i + 1]).reduce((sum, value) => sum + Math.round(Math.expm1(value) / (Math.E - 1)), 0),
    ) as [number, number];
    const shapes = 12;
    const pairThatJoins = 1;
    expect(twice).toBe(2 * (once - shapes) + pairThatJoins + shapes);
  });

  it('refuses what is no conversation, and an aborted call', async () => {
    for (const bad of [[[]], [[{ role: 'user' }]], ['text'], [null]]) {
      await expect(encoder().encode(bad as never)).rejects.toMatchObject({ code: 'BAD_CONVERSATION' });
    }
    await expect(encoder().encode([user('x')], { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORTED' });
    const columns = featureColumns();
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, 1e38]) {
      const tables = { dimensions: 1, idf: new Float32Array(columns).fill(1), projection: new Float32Array(columns) };
      tables.projection[7] = value;
      expect(() => new HashingEncoder(tables)).toThrow(expect.objectContaining({ code: 'NOT_FINITE' }));
      expect(() => new HashingEncoder({ ...tables, projection: tables.idf, idf: tables.projection })).toThrow(
        expect.objectContaining({ code: 'NOT_FINITE' }),
      );
    }
    const nothing = new HashingEncoder({ dimensions: 1, idf: new Float32Array(columns), projection: new Float32Array(columns).fill(1) });
    expect(await nothing.encode([user('words')])).toEqual(new Float32Array(1));
    expect(() => new HashingEncoder({ dimensions: 2, idf: new Float32Array(3), projection: new Float32Array(6) })).toThrow(
      expect.objectContaining({ code: 'WRONG_SHAPE' }),
    );
  });
});

describe('the addon, called directly', () => {
  it('answers nonsense with a code', () => {
    const addon = textAddon();
    const packed = pack([user('hello')]);
    const code = (body: () => unknown) => {
      try {
        body();
      } catch (error) {
        return (error as { code: string }).code;
      }
      return undefined;
    };
    expect(code(() => addon.encodeText(...packed, {} as never, 1))).toBe('BAD_ARGUMENT');
    const [contents, ends, weights, normalised] = packed;
    const features = (...args: unknown[]) => code(() => addon.textFeatures(...(args as typeof packed), new Float32Array(0), 1, undefined));
    expect(features('hello', ends, weights, normalised)).toBe('BAD_ARGUMENT');
    expect(features([7], ends, weights, normalised)).toBe('BAD_ARGUMENT');
    expect(features(new Array(3), ends, weights, normalised)).toBe('BAD_ARGUMENT');
    expect(features(contents, ends, weights, undefined)).toBe('BAD_ARGUMENT');
    expect(features(['é'], ends, weights, () => 7)).toBe('BAD_ARGUMENT');
    const shrinking = ['é', 'é'];
    expect(features(shrinking, ends, weights, () => String(shrinking.splice(1)))).toBe(undefined);
    const failure = new RangeError('mine');
    expect(() =>
      addon.textFeatures(
        ['é'],
        ends,
        weights,
        () => {
          throw failure;
        },
        new Float32Array(0),
        1,
        undefined,
      ),
    ).toThrow(failure); // prettier-ignore
    expect(code(() => addon.textFeatures(...packed, new Float32Array(0), 0, undefined))).toBe('BAD_ARGUMENT');
    expect(code(() => addon.inverseFrequencies(Uint32Array.of(2 ** 31), 1))).toBe('WRONG_SHAPE');
    const detached = new Float32Array(8);
    structuredClone(detached.buffer, { transfer: [detached.buffer] });
    expect(features(contents, ends, detached, normalised)).toBe('DETACHED_BUFFER');
  });

  it('checks the ends of conversations and the number of weights', async () => {
    const [contents, ends, weights, normalised] = pack([user('hello')]);
    for (const [otherEnds, otherWeights] of [
      [Uint32Array.of(4000), weights],
      [Uint32Array.of(0), weights],
      [ends, new Float32Array(2)],
    ] as const) {
      const { promise } = textAddon().textFeatures(contents, otherEnds, otherWeights, normalised, new Float32Array(0), 1, undefined);
      await expect(promise).rejects.toMatchObject({ code: 'WRONG_SHAPE' });
    }
    expect([...ends]).toEqual([1]);
  });
});
