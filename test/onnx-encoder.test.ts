/** The ONNX encoder on models that the test makes: a transformer with random weights, tokenizers of the three kinds. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OnnxEncoder, type OnnxEncoderOptions } from '../src/index.js';
import { Random } from '../src/random.js';
import type { Conversation } from '../src/types.js';

interface TinyModels {
  transformer(options: { vocabulary: number; [option: string]: unknown }): Buffer;
  wordPiece(): object;
  bytePair(): object;
  unigram(): object;
  vocabularySize(tokenizer: object): number;
}
const root = fileURLToPath(new URL('..', import.meta.url));
const models = (await import(/* @vite-ignore */ join(root, 'test', 'tiny-models.mjs'))) as TinyModels;

const KINDS = { wordPiece: models.wordPiece(), bytePair: models.bytePair(), unigram: models.unigram() };
type Kind = keyof typeof KINDS;
const HIDDEN = 32;
const POSITIONS = 128;

// biome-ignore lint/suspicious/noExplicitAny: the packages are optional, and so are their types
const [ort, tokenizers]: any[] = await Promise.all(
  ['onnxruntime-node', '@huggingface/tokenizers'].map((name) => import(/* @vite-ignore */ name).catch(() => undefined)),
);
const here = ort !== undefined && tokenizers !== undefined;
if (!here) console.warn('SKIPPED the ONNX encoder: onnxruntime-node or @huggingface/tokenizers is not installed (npm ci installs both).');

let folder: string;
const path = (name: string) => join(folder, name);
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'pointsman-onnx-'));
  for (const [kind, tokenizer] of Object.entries(KINDS)) {
    writeFileSync(path(`${kind}.json`), JSON.stringify(tokenizer));
    writeFileSync(
      path(`${kind}.onnx`),
      models.transformer({ vocabulary: models.vocabularySize(tokenizer), hidden: HIDDEN, positions: POSITIONS }),
    );
  }
});
afterAll(() => rmSync(folder, { recursive: true }));

const open = (kind: Kind, options: Partial<OnnxEncoderOptions> = {}) =>
  OnnxEncoder.open({ model: path(`${kind}.onnx`), tokenizer: path(`${kind}.json`), maxTokens: POSITIONS, normalize: false, ...options });
const user = (content: string): Conversation => [{ role: 'user', content }];
const words = 'the rain falls on green hills what is a compiler Ünïcode 你好 😀 1234 fix code, please! returning'.split(' ');

function conversations(count: number, seed: number): Conversation[] {
  const random = new Random(seed);
  const text = (length: number) => Array.from({ length }, () => words[random.below(words.length)]).join(' ');
  return Array.from({ length: count }, (_, n) =>
    n % 3 === 0
      ? user(text(random.below(60)))
      : [
          { role: 'user', content: text(random.below(20)) },
          { role: 'assistant', content: text(random.below(30)) },
          { role: 'user', content: text(1 + random.below(4)) },
        ],
  );
}

const furthest = (a: Float32Array, b: Float32Array) => a.reduce((most, value, i) => Math.max(most, Math.abs(value - (b[i] as number))), 0);

describe.skipIf(!here)('OnnxEncoder', () => {
  it.each(Object.keys(KINDS) as Kind[])('%s: padded batches give the vectors of one by one, within 1e-5', async (kind) => {
    const [together, alone] = [await open(kind, { batchTokens: 2048 }), await open(kind, { batchTokens: 8 })];
    const asked = conversations(60, 1);
    const vectors = await together.encode(asked);
    expect(together.dimensions).toBe(HIDDEN);
    expect(vectors).toHaveLength(60 * HIDDEN);
    expect(furthest(vectors, await alone.encode(asked))).toBeLessThan(1e-5);
    for (const [n, conversation] of asked.entries()) {
      if (n % 10) continue;
      expect(furthest(await together.encode([conversation]), vectors.subarray(n * HIDDEN, (n + 1) * HIDDEN))).toBeLessThan(1e-5);
    }
    const norms = new Set(Array.from({ length: 60 }, (_, n) => vectors[n * HIDDEN]?.toFixed(4)));
    expect(norms.size).toBeGreaterThan(50); // different conversations, different vectors
    await Promise.all([together.close(), alone.close()]);
  });

  it.each(Object.keys(KINDS) as Kind[])('%s: pools what the model gives for the tokens of the text', async (kind) => {
    const content = 'Fix the function, please: it returns 17.';
    const ids: number[] = new tokenizers.Tokenizer(KINDS[kind], {}).encode(content).ids;
    const session = await ort.default.InferenceSession.create(path(`${kind}.onnx`), { logSeverityLevel: 3 });
    const int64 = (values: number[]) => new ort.default.Tensor('int64', BigInt64Array.from(values, BigInt), [1, ids.length]);
    const ones = ids.map(() => 1);
    const output = await session.run({ input_ids: int64(ids), attention_mask: int64(ones), token_type_ids: int64(ids.map(() => 0)) });
    const rows: Float32Array = output.last_hidden_state.data;
    const row = (t: number) => rows.slice(t * HIDDEN, (t + 1) * HIDDEN);
    const mean = new Float32Array(HIDDEN).map(
      (_, j) => ids.reduce((sum, _id, t) => sum + (rows[t * HIDDEN + j] as number), 0) / ids.length,
    );
    for (const [pooling, expected] of [
      ['mean', mean],
      ['cls', row(0)],
      ['last', row(ids.length - 1)],
    ] as const) {
      const encoder = await open(kind, { pooling });
      expect(furthest(await encoder.encode([user(content)]), expected)).toBeLessThan(1e-5);
      await encoder.close();
    }
    const unit = await open(kind, { normalize: true });
    expect(Math.hypot(...(await unit.encode([user(content)])))).toBeCloseTo(1, 5);
    await unit.close();
    await session.release();
  });

  it.each(Object.keys(KINDS) as Kind[])('%s: a conversation of 100,000 tokens is its newest tokens, in little memory', async (kind) => {
    const encoder = await open(kind, { prefix: 'query: ' });
    const random = new Random(5);
    const line = () => Array.from({ length: 25 }, () => words[random.below(words.length)]).join(' ');
    const long: Conversation = Array.from({ length: 5000 }, (_, n) => ({ role: n % 2 ? 'assistant' : 'user', content: line() }));
    const one: Conversation = [
      { role: 'assistant', content: 'hello' },
      { role: 'user', content: Array.from({ length: 5000 }, line).join(' ') },
    ];
    const tokens =
      new tokenizers.Tokenizer(KINDS[kind], {}).encode(one[1]?.content.slice(0, 20_000)).ids.length *
      ((one[1]?.content.length ?? 0) / 20_000);
    expect(tokens).toBeGreaterThan(100_000);
    await encoder.encode([long]);
    const before = process.memoryUsage().rss;
    const vectors = await encoder.encode([long, one]);
    expect(process.memoryUsage().rss - before).toBeLessThan(400 * 2 ** 20);
    const cut = await encoder.encode([long.slice(-80), [{ role: 'user', content: one[1]?.content.slice(-4000) as string }]]);
    expect(furthest(vectors, cut)).toBeLessThan(1e-6);
    const other = await encoder.encode([[...long.slice(0, -1), { role: 'user', content: 'something else' }]]);
    expect(furthest(other, vectors.subarray(0, HIDDEN))).toBeGreaterThan(1e-3);
    await encoder.close();
  });

  it.each(Object.keys(KINDS) as Kind[])('%s: reads so much of what makes few tokens, whatever its length', async (kind) => {
    const encoder = await open(kind);
    for (const run of ['漢', 'é', ' ', '\0', 'a']) {
      const [long, cut] = [200_000, 100_000].map((length) => user(`${run.repeat(length)} river`));
      const vectors = await encoder.encode([long as Conversation, cut as Conversation]);
      expect(vectors.every(Number.isFinite)).toBe(true);
      expect(vectors.subarray(0, HIDDEN)).toEqual(vectors.subarray(HIDDEN));
    }
    await encoder.close();
  });

  it('keeps the prefix, tells of progress, and gives nothing for nothing', async () => {
    const [plain, prefixed] = [await open('wordPiece'), await open('wordPiece', { prefix: 'explain why ' })];
    expect(furthest(await prefixed.encode([user('the sky')]), await plain.encode([user('explain why the sky')]))).toBeLessThan(1e-6);
    expect(await plain.encode([])).toEqual(new Float32Array(0));
    const told: number[] = [];
    await plain.encode(conversations(300, 2), { onProgress: ({ done, total }) => told.push(done / total) });
    expect(told.length).toBeGreaterThan(2);
    expect(told.toSorted((a, b) => a - b)).toEqual(told);
    expect(told.at(-1)).toBe(1);
    const emptyText = await plain.encode([user('')]);
    expect(emptyText.every(Number.isFinite)).toBe(true);
    await plain.close();
    await plain.close();
    await expect(plain.encode([user('x')])).rejects.toMatchObject({ code: 'CLOSED' });
    await prefixed.close();
  });

  it('names itself by its files and settings', async () => {
    const ids = await Promise.all(
      (['wordPiece', 'unigram'] as const).flatMap((kind) =>
        [{}, { pooling: 'cls' as const }, { batchTokens: 64 }].map(async (options) => {
          const encoder = await open(kind, options);
          await encoder.close();
          return encoder.id;
        }),
      ),
    );
    expect(ids[0]).toBe(ids[2]); // how it is batched changes nothing
    expect(new Set(ids).size).toBe(4);
  });

  it('stops when asked, also before it begins', async () => {
    const encoder = await open('bytePair');
    const stop = new AbortController();
    const running = encoder.encode(conversations(20_000, 3), { signal: stop.signal });
    setTimeout(() => stop.abort(), 50);
    const started = performance.now();
    await expect(running).rejects.toMatchObject({ code: 'ABORTED' });
    expect(performance.now() - started).toBeLessThan(10_000);
    await expect(encoder.encode([user('x')], { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORTED' });
    await expect(
      open('bytePair', {}).then(() =>
        OnnxEncoder.open({ model: path('bytePair.onnx'), tokenizer: path('bytePair.json') }, { signal: AbortSignal.abort() }),
      ),
    ).rejects.toMatchObject({ code: 'ABORTED' });
    await encoder.close();
  });

  it.each<[string, string, Partial<OnnxEncoderOptions>]>([
    ['FILE_MISSING', 'none.onnx', { model: 'none.onnx' }],
    ['FILE_MISSING', 'none.json', { tokenizer: 'none.json' }],
    ['FILE_CORRUPT', 'ONNX model', { model: 'wordPiece.json' }],
    ['FILE_CORRUPT', 'tokenizer.json', { tokenizer: 'wordPiece.onnx' }],
    ['FILE_CORRUPT', 'tokenizer.json', { tokenizer: 'empty.json' }],
    ['FILE_IO', 'no file', { model: '' }],
    ['BAD_ARGUMENT', 'no output', { output: 'pooled' }],
    ['BAD_ARGUMENT', 'pooling', { pooling: 'max' as never }],
    ['BAD_ARGUMENT', 'maxTokens', { maxTokens: 7 }],
    ['BAD_ARGUMENT', 'threads', { threads: 0 }],
    ['BAD_ARGUMENT', 'modle', { modle: 'x' } as never],
    ['NOT_FINITE', 'NaN', { model: 'broken.onnx' }],
  ])('refuses with %s: %s', async (code, message, options) => {
    writeFileSync(path('empty.json'), '{}');
    writeFileSync(path('broken.onnx'), models.transformer({ vocabulary: 500, broken: true }));
    const named = Object.fromEntries(
      Object.entries(options).map(([name, value]) => [name, name === 'model' || name === 'tokenizer' ? path(value as string) : value]),
    );
    await expect(open('wordPiece', named)).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
  });

  it('says so where maxTokens is more than the model takes', async () => {
    const encoder = await open('wordPiece', { maxTokens: 512 });
    await expect(encoder.encode([user('the rain '.repeat(200))])).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
      message: expect.stringContaining('maxTokens'),
    });
    expect(await encoder.encode([user('the rain')])).toHaveLength(HIDDEN); // and is none the worse
    await expect(encoder.encode([[]])).rejects.toMatchObject({ code: 'BAD_CONVERSATION' });
    await encoder.close();
  });
});

describe('without the optional packages', () => {
  it('says what to install', () => {
    const bare = path('bare');
    mkdirSync(bare);
    cpSync(join(root, 'dist'), join(bare, 'dist'), { recursive: true });
    writeFileSync(join(bare, 'package.json'), '{"type":"module"}');
    const program =
      "const { OnnxEncoder } = await import('./dist/encode/onnx.js');" +
      "await OnnxEncoder.open({ model: 'm.onnx', tokenizer: 't.json' }).catch((error) => console.log(error.code, error.message));";
    const said = execFileSync(process.execPath, ['--input-type=module', '-e', program], { cwd: bare, encoding: 'utf8' });
    expect(said).toContain('PACKAGE_MISSING');
    expect(said).toContain('ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node @huggingface/tokenizers');
  });
});
