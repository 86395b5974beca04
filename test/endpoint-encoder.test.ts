/** The encoder behind an endpoint, against a local server that speaks the embeddings protocol. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { EndpointEncoder, type EndpointEncoderOptions } from '../src/index.js';
import type { Conversation } from '../src/types.js';
import { cutBody, EndpointServer, embeddingOf, embeddings, first, send } from './endpoint-server.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'pointsman-endpoint-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const DIMENSIONS = 6;
let server: EndpointServer;
beforeEach(async () => {
  server = await new EndpointServer(embeddings(DIMENSIONS)).start();
});
afterEach(() => server.stop());

const user = (content: string): Conversation => [{ role: 'user', content }];
const open = (options: Partial<EndpointEncoderOptions> = {}) =>
  EndpointEncoder.open({ baseUrl: server.url, model: 'small', dimensions: DIMENSIONS, backoff: 1, normalize: false, ...options });
const texts = () => server.asked.flatMap(({ body }) => body.input as string[]);
const expected = (contents: readonly string[]) => Float32Array.from(contents.flatMap((content) => embeddingOf(content, DIMENSIONS)));

describe('EndpointEncoder', () => {
  it.each([1, 2, 16, 64])('gives the vectors in order with %i requests at a time', async (concurrency) => {
    const encoder = await open({ concurrency, batch: 3 });
    const contents = Array.from({ length: 100 }, (_, n) => `text ${n}`);
    const progress: number[] = [];
    const vectors = await encoder.encode(contents.map(user), { onProgress: ({ done, total }) => progress.push(done / total) });
    expect(vectors).toEqual(expected(contents));
    expect(server.asked).toHaveLength(34);
    expect(server.most).toBeLessThanOrEqual(concurrency);
    expect(server.asked[0]?.body).toEqual({ model: 'small', input: contents.slice(0, 3) });
    expect(progress).toHaveLength(100);
    expect(progress.at(-1)).toBe(1);
    expect(await encoder.encode([])).toEqual(new Float32Array(0));
    await encoder.close();
  });

  it('learns the dimensions from the endpoint, or asks it to shorten', async () => {
    const encoder = await open({ dimensions: undefined, normalize: true });
    expect(encoder.dimensions).toBe(DIMENSIONS);
    const vector = await encoder.encode([user('x')]);
    expect(Math.hypot(...vector)).toBeCloseTo(1, 6);
    const shortened = await open({ shorten: true });
    await shortened.encode([user('y')]);
    expect(server.asked.at(-1)?.body.dimensions).toBe(DIMENSIONS);
    expect(new Set([encoder.id, shortened.id, (await open({ prefix: 'query: ' })).id]).size).toBe(3);
  });

  it('asks for equal texts once, and never again for what the cache has', async () => {
    const cache = join(folder, 'vectors.jsonl');
    const one = await open({ cache });
    const contents = ['a', 'b', 'a', 'c', 'b'];
    expect(await one.encode(contents.map(user))).toEqual(expected(contents));
    expect(texts().toSorted()).toEqual(['a', 'b', 'c']);
    await one.close();
    const two = await open({ cache, apiKey: 'sk-secret-secret-secret' });
    expect(await two.encode(['c', 'd', 'a'].map(user))).toEqual(expected(['c', 'd', 'a']));
    expect(texts().toSorted()).toEqual(['a', 'b', 'c', 'd']);
    await two.close();
    const other = await open({ cache, model: 'large' });
    await other.encode([user('a')]);
    expect(texts()).toHaveLength(5);
    await other.close();
    const kept = readFileSync(cache, 'utf8');
    expect(kept).not.toContain('secret');
  });

  it('asks once for what several calls want at the same time', async () => {
    const encoder = await open();
    const calls = Array.from({ length: 20 }, () => encoder.encode(['p', 'q', 'r'].map(user)));
    for (const vectors of await Promise.all(calls)) expect(vectors).toEqual(expected(['p', 'q', 'r']));
    expect(texts()).toHaveLength(3);
  });

  it('after a failure asks for the rest alone', async () => {
    const cache = join(folder, 'failing.jsonl');
    const contents = Array.from({ length: 20 }, (_, n) => `text ${n}`);
    server.handlers = [({ body }, response) => (body.input.includes('text 10') ? send(response, 'no', 400) : false)];
    const encoder = await open({ cache, batch: 2, concurrency: 1 });
    await expect(encoder.encode(contents.map(user))).rejects.toMatchObject({ code: 'ENDPOINT_FAILED' });
    server.handlers = [];
    expect(await encoder.encode(contents.map(user))).toEqual(expected(contents));
    for (const content of contents.slice(0, 10)) expect(texts().filter((text) => text === content)).toHaveLength(1);
    await encoder.close();
  });

  it('asks again after bodies that are cut, refusals and silence', async () => {
    server.handlers = [first(1, cutBody), first(1, (_, response) => send(response, {}, 429, { 'retry-after': '0.1' })), first(1, () => {})];
    const encoder = await open({ timeout: 200, concurrency: 1 });
    expect(await encoder.encode([user('x')])).toEqual(expected(['x']));
    expect(encoder.attempts).toBe(4);
  });

  it.each<[string, unknown]>([
    ['3 dimensions where 6', { data: [{ index: 0, embedding: [1, 2, 3] }] }],
    ['2 vectors for 1', { data: [{ embedding: [1] }, { embedding: [2] }] }],
    ['0 vectors for 1', { data: [] }],
    ['no list named data', { vectors: [] }],
    ['no list named data', null],
    ['null in a vector', '{"data":[{"index":0,"embedding":[1,2,3,4,5,null]}]}'],
    ['"NaN" in a vector', { data: [{ index: 0, embedding: [1, 2, 3, 4, 5, 'NaN'] }] }],
    ['1e+300 in a vector', { data: [{ index: 0, embedding: [1, 2, 3, 4, 5, 1e300] }] }],
    ['no list of numbers', { data: [{ index: 0, embedding: 'AAAA' }] }],
    ['the index 1', { data: [{ index: 1, embedding: [1, 2, 3, 4, 5, 6] }] }],
  ])('refuses an answer with %s', async (what, answer) => {
    const cache = join(folder, 'refused.jsonl');
    server.handlers = [(_, response) => send(response, answer)];
    const encoder = await open({ cache });
    await expect(encoder.encode([user('x')])).rejects.toMatchObject({ code: 'BAD_RESPONSE', message: expect.stringContaining(what) });
    server.handlers = [];
    expect(await encoder.encode([user(`good after ${what}`)])).toHaveLength(DIMENSIONS); // and nothing bad was kept
    await encoder.close();
  });

  it('sends the newest part of a long conversation, and the prefix always', async () => {
    const encoder = await open({ maxCharacters: 40, prefix: 'query: ' });
    await encoder.encode([
      [
        { role: 'user', content: 'the oldest message, which is lost' },
        { role: 'assistant', content: 'an answer of some length' },
        { role: 'user', content: 'the newest' },
      ],
      user(`${'x'.repeat(100)}😀${'y'.repeat(32)}`),
      [
        { role: 'system', content: 'short' },
        { role: 'user', content: 'hi' },
      ],
    ]);
    const [long, cut, short] = texts() as [string, string, string];
    expect(long).toBe('query: r of some length\nuser: the newest');
    expect(long.length).toBeLessThanOrEqual(40);
    expect(cut).toBe(`query: ${'y'.repeat(32)}`);
    expect(short).toBe('query: system: short\nuser: hi');
  });

  it('is aborted, keeps its key to itself, and refuses wrong options', async () => {
    server.handlers = [() => {}];
    const encoder = await open({ apiKey: 'sk-secret-secret' });
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 30);
    await expect(encoder.encode([user('x')], { signal: stop.signal })).rejects.toMatchObject({ code: 'ABORTED' });
    expect(inspect(encoder, { depth: 9, showHidden: true }) + JSON.stringify(encoder)).not.toContain('secret');
    await expect(encoder.encode([[]])).rejects.toMatchObject({ code: 'BAD_CONVERSATION' });
    await expect(encoder.encode('x' as never)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    for (const options of [
      { model: '' },
      { batch: 0 },
      { dimensions: 0 },
      { maxCharacters: 0 },
      { normalize: 1 },
      { shorten: true, dimensions: undefined },
      { modle: 'x' },
    ]) {
      await expect(open(options as never)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    }
  });

  it('tells no key that an answer holds, and nothing at length', async () => {
    const apiKey = 'sk-very-secret/key1234567890';
    for (const item of [
      { index: 0, embedding: [`Bearer ${apiKey}`] },
      { index: `Bearer ${apiKey}`, embedding: [1] },
      { index: 0, embedding: ['x'.repeat(5e6)] },
    ]) {
      server.handlers = [(_, response) => send(response, { data: [item] })];
      const error = await (await open({ apiKey })).encode([user('x')]).catch((thrown) => thrown);
      expect(error).toMatchObject({ code: 'BAD_RESPONSE' });
      expect(error.message).not.toMatch(/secret|key1234/);
      expect(error.message.length).toBeLessThan(400);
    }
  });

  it('refuses calls after close, which waits for those that run', async () => {
    const cache = join(folder, 'closed.jsonl');
    const encoder = await open({ cache, batch: 1, concurrency: 2 });
    const contents = Array.from({ length: 9 }, (_, n) => `closing ${n}`);
    const running = encoder.encode(contents.map(user));
    await encoder.close();
    expect(await running).toEqual(expected(contents));
    const asked = server.asked.length;
    await expect(encoder.encode([user('late')])).rejects.toMatchObject({ code: 'CLOSED' });
    expect(server.asked).toHaveLength(asked);
    await encoder.close();
  });
});
