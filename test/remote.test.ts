/** The client of endpoints and its cache, against a local server that fails in every way that servers do. */
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Answers, Client, type ClientOptions } from '../src/remote/index.js';
import { Patience, retryAfter } from '../src/remote/patience.js';
import { redact } from '../src/remote/secrets.js';
import { EndpointServer, first, type Handler, send } from './endpoint-server.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'pointsman-remote-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

let server: EndpointServer;
beforeEach(async () => {
  server = await new EndpointServer(({ body }, response) => send(response, { echo: body })).start();
});
afterEach(() => server.stop());

const KEY = 'sk-test-0123456789abcdef';
const client = (options: Partial<ClientOptions> = {}) => new Client({ baseUrl: server.url, backoff: 1, ...options });
const fails = async (promise: Promise<unknown>) => {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason as Error & { code: string },
  );
  expect(error).toBeDefined();
  return error as Error & { code: string };
};

describe('Client', () => {
  it('posts JSON with the key, under the base whatever its form', async () => {
    expect(await client({ apiKey: KEY, headers: { 'x-team': 'blue' } }).post('embeddings', { a: 'é' })).toEqual({ echo: { a: 'é' } });
    expect(server.asked[0]).toMatchObject({ path: '/v1/embeddings', headers: { authorization: `Bearer ${KEY}`, 'x-team': 'blue' } });
    await client({ baseUrl: `${server.url}/?api-version=2` }).post('embeddings', {});
    expect(server.asked[1]).toMatchObject({ path: '/v1/embeddings?api-version=2' });
    expect(server.asked[1]?.headers.authorization).toBeUndefined();
  });

  it('takes the key from the environment variable that is named', async () => {
    process.env.POINTSMAN_TEST_KEY = KEY;
    await client({ apiKeyEnv: 'POINTSMAN_TEST_KEY' }).post('x', {});
    delete process.env.POINTSMAN_TEST_KEY;
    expect(server.asked[0]?.headers.authorization).toBe(`Bearer ${KEY}`);
    expect(() => client({ apiKeyEnv: 'POINTSMAN_TEST_KEY' })).toThrow(/POINTSMAN_TEST_KEY holds no key/);
  });

  it.each<[string, Handler]>([
    ['status 500', (_, response) => send(response, { error: { message: 'oops' } }, 500)],
    ['status 429', (_, response) => send(response, 'slow down', 429)],
    ['no JSON', (_, response) => send(response, '{"data": [')],
    [
      'a body that is cut',
      (_, response) => {
        response.writeHead(200, { 'content-length': '100' });
        response.write('{"da');
        setTimeout(() => response.destroy(), 5);
      },
    ],
    ['a connection that is closed', (_, response) => response.destroy()],
    ['no answer in time', () => {}],
  ])('asks again after %s', async (_, handler) => {
    server.handlers = [first(2, handler)];
    expect(await client({ timeout: 150 }).post('x', { n: 1 })).toEqual({ echo: { n: 1 } });
    expect(server.asked).toHaveLength(3);
  });

  it.each<[string, string, Handler]>([
    ['ENDPOINT_FAILED', 'status 503: oops (after 3 attempts)', (_, response) => send(response, { error: { message: 'oops' } }, 503)],
    ['BAD_RESPONSE', 'no JSON: <html> (after 3 attempts)', (_, response) => send(response, '<html>')],
    ['ENDPOINT_FAILED', 'did not answer within 50 ms (after 3 attempts)', () => {}],
  ])('gives up with %s: %s', async (code, message, handler) => {
    server.handlers = [handler];
    const error = await fails(client({ timeout: 50, retries: 2 }).post('x', {}));
    expect(error).toMatchObject({ code, message: expect.stringContaining(message) });
    expect(server.asked).toHaveLength(3);
  });

  it.each([400, 401, 404, 422, 302])('status %i is final', async (status) => {
    server.handlers = [(_, response) => send(response, { error: 'no such model' }, status, { location: '/elsewhere' })];
    expect(await fails(client().post('x', {}))).toMatchObject({
      code: 'ENDPOINT_FAILED',
      message: expect.stringContaining(`status ${status}: no such model`),
    });
    expect(server.asked).toHaveLength(1);
  });

  it('says where nobody listens', async () => {
    const { url } = server;
    await server.stop();
    const error = await fails(new Client({ baseUrl: url, retries: 1, backoff: 1 }).post('x', {}));
    expect(error).toMatchObject({
      code: 'ENDPOINT_FAILED',
      message: expect.stringMatching(/127\.0\.0\.1:\d+\/v1\/x could not be reached: .*ECONNREFUSED/),
    });
    await server.start();
  });

  it('honours Retry-After, for all of its requests', async () => {
    server.handlers = [first(1, (_, response) => send(response, {}, 429, { 'retry-after': '0.3' }))];
    const one = client({ concurrency: 2 });
    await Promise.all([one.post('x', {}), new Promise((resolve) => setTimeout(resolve, 60)).then(() => one.post('y', {}))]);
    const [refused, ...later] = server.asked.map(({ at }) => at) as [number, ...number[]];
    expect(later).toHaveLength(2);
    for (const at of later) expect(at - refused).toBeGreaterThanOrEqual(290);
    server.handlers = [(_, response) => send(response, {}, 503, { 'retry-after': '86400' })];
    expect(await fails(one.post('x', {}))).toMatchObject({
      code: 'ENDPOINT_FAILED',
      message: expect.stringContaining('asks to wait 86400 s'),
    });
  });

  it.each([1, 5, 64])('keeps %i requests open at most, and all are answered', async (concurrency) => {
    server.handlers = [
      async () => {
        for (let n = 0; n < 400 && server.most < concurrency; n++) await new Promise((resolve) => setTimeout(resolve, 5));
        return false;
      },
    ];
    const one = client({ concurrency });
    const count = 3 * concurrency;
    const answers = await Promise.all(Array.from({ length: count }, (_, n) => one.post('x', { n })));
    expect(answers).toEqual(Array.from({ length: count }, (_, n) => ({ echo: { n } })));
    expect(server.most).toBe(concurrency);
  });

  it('is aborted while it waits for a turn, for an answer, and for the next attempt', async () => {
    server.handlers = [(_, response) => send(response, {}, 429, { 'retry-after': '30' })];
    for (const handler of [() => {}, server.handlers[0] as Handler]) {
      server.handlers = [handler];
      const one = client({ concurrency: 1 });
      const stop = new AbortController();
      const running = [one.post('x', {}, stop), one.post('y', {}, stop)].map(fails);
      setTimeout(() => stop.abort(), 50);
      for (const error of await Promise.all(running)) expect(error).toMatchObject({ code: 'ABORTED' });
    }
    expect(await fails(client().post('x', {}, { signal: AbortSignal.abort() }))).toMatchObject({ code: 'ABORTED' });
  });

  it.each<[string, object]>([
    ['baseUrl', { baseUrl: 'ftp://x' }],
    ['baseUrl', { baseUrl: 'nonsense' }],
    ['concurrency', { concurrency: 0 }],
    ['concurrency', { concurrency: 65 }],
    ['timeout', { timeout: 0 }],
    ['retries', { retries: -1 }],
    ['backoff', { backoff: Number.NaN }],
    ['headers', { headers: { 'x y': 'z' } }],
    ['apiKeyEnv', { apiKeyEnv: 'not a name' }],
  ])('refuses a wrong %s: %o', (name, options) => {
    expect(() => client(options)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT', message: expect.stringContaining(name) }));
  });
});

describe('keys', () => {
  it('are in no error, whatever the server repeats of them, and not to be seen on the client', async () => {
    const header = 'other-secret-42';
    const answers: Handler[] = [
      (_, response) => send(response, { error: { message: `Incorrect API key provided: ${KEY.slice(0, 12)}***${KEY.slice(-8)}.` } }, 401),
      (_, response) => send(response, `<p>Bearer ${KEY}, ${header}</p>`, 500),
      ({ headers }, response) => send(response, `{"you sent": ${JSON.stringify(headers)}`),
    ];
    for (const handler of answers) {
      server.handlers = [handler];
      const one = client({ apiKey: KEY, headers: { 'api-key': header }, retries: 1 });
      const error = await fails(one.post('x', { input: 'text' }));
      for (const text of [
        inspect(error, { depth: 9 }),
        String(error.stack),
        JSON.stringify(one),
        inspect(one, { depth: 9, showHidden: true }),
      ]) {
        for (let at = 0; at + 8 <= KEY.length; at++) expect(text).not.toContain(KEY.slice(at, at + 8));
        expect(text).not.toContain(header);
      }
      expect(error.message).toContain('[hidden]');
    }
  });

  it('are in no error of a wrong option', () => {
    const wrong = [
      { apiKey: `${KEY}\n` },
      { apiKeyEnv: KEY },
      { headers: { 'api-key': `${KEY}\r\n` } },
      { baseUrl: `http://user:${KEY}@host/v1` },
    ];
    for (const options of wrong) {
      try {
        client(options);
        expect.unreachable();
      } catch (error) {
        expect(error).toMatchObject({ code: 'BAD_ARGUMENT' });
        expect(inspect(error, { depth: 9 })).not.toContain(KEY);
      }
    }
  });

  it('blackens parts of a secret, and nothing else', () => {
    expect(redact('a sk-12345678 b', ['sk-12345678'])).toBe('a [hidden] b');
    expect(redact('pw pwd', ['pw'])).toBe('[hidden] [hidden]d');
    expect(redact('nothing here', ['sk-12345678', ''])).toBe('nothing here');
  });
});

describe('Patience', () => {
  it('draws pauses from 0 to twice as much each time, the same for the same seed', () => {
    const draw = (seed: number) => {
      const patience = new Patience({ backoff: 100, seed });
      return Array.from({ length: 2000 }, (_, n) => patience.pause(1 + (n % 4)));
    };
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
    for (const [n, pause] of draw(3).entries()) expect(pause).toBeLessThan(100 * 2 ** (n % 4));
    const fourth = draw(3).filter((_, n) => n % 4 === 3);
    expect(Math.max(...fourth)).toBeGreaterThan(700);
    expect(Math.min(...fourth)).toBeLessThan(100);
    expect(new Patience({ backoff: 60_000 }).pause(90)).toBeLessThanOrEqual(60_000);
  });

  it('reads Retry-After as seconds and as a date', () => {
    const now = Date.parse('2026-01-01T00:00:00Z');
    expect(retryAfter('2', now)).toBe(2000);
    expect(retryAfter('Thu, 01 Jan 2026 00:00:30 GMT', now)).toBe(30_000);
    expect(retryAfter('Thu, 01 Jan 2025 00:00:30 GMT', now)).toBe(0);
    for (const header of [null, 'soon', '']) expect(retryAfter(header, now)).toBeUndefined();
  });
});

describe('Answers', () => {
  let files = 0;
  const path = () => join(folder, `answers-${files++}.jsonl`);
  const keysOf = (questions: unknown[]) => questions.map(Answers.key);
  /** Asks, and counts what was requested. */
  async function ask(answers: Answers, questions: string[], options: { fail?: string; signal?: AbortSignal; wait?: number } = {}) {
    const requested: string[] = [];
    const values: unknown[] = [];
    const running = answers.ask(
      keysOf(questions),
      async (places, signal) => {
        const asked = places.map((place) => questions[place] as string);
        requested.push(...asked);
        await new Promise((resolve) => setTimeout(resolve, options.wait ?? 1));
        if (signal.aborted) throw new Error('nobody waits');
        if (options.fail !== undefined && asked.includes(options.fail)) throw new Error(`cannot say ${options.fail}`);
        return asked.map((question) => ({ answer: question, line: 'a\nb' }));
      },
      { signal: options.signal, onAnswer: (place, value) => (values[place] = (value as { answer: string }).answer) },
    );
    return {
      requested,
      values,
      error: await running.then(
        () => undefined,
        (error: Error) => error,
      ),
    };
  }

  it('asks once, also for equal questions of a call, and finds the answer after it was opened again', async () => {
    const file = path();
    const answers = await Answers.open(file);
    expect(await ask(answers, ['a', 'b', 'a'])).toMatchObject({ requested: ['a', 'b'], values: ['a', 'b', 'a'] });
    expect(await ask(answers, ['b', 'c'])).toMatchObject({ requested: ['c'], values: ['b', 'c'] });
    await answers.close();
    const again = await Answers.open(file);
    expect(again).toMatchObject({ size: 3, dropped: 0 });
    expect(await ask(again, ['c', 'b', 'a'])).toMatchObject({ requested: [], values: ['c', 'b', 'a'] });
    await again.close();
    for (const line of readFileSync(file, 'utf8').trimEnd().split('\n')) expect(() => JSON.parse(line)).not.toThrow();
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  it.each([undefined, 'file'])('shares what is under way (%s)', async (kind) => {
    const answers = await Answers.open(kind && path());
    const [one, two] = await Promise.all([ask(answers, ['a', 'b'], { wait: 30 }), ask(answers, ['b', 'c', 'a'], { wait: 30 })]);
    expect([...one.requested, ...two.requested].sort()).toEqual(['a', 'b', 'c']);
    expect(two.values).toEqual(['b', 'c', 'a']);
    await answers.close();
  });

  it('goes on for the others when one of those who wait leaves, and stops when all have', async () => {
    const answers = await Answers.open();
    const stop = new AbortController();
    const leaving = ask(answers, ['a'], { wait: 50, signal: stop.signal });
    const staying = ask(answers, ['a'], { wait: 50 });
    stop.abort();
    expect((await leaving).error).toMatchObject({ code: 'ABORTED' });
    expect(await staying).toMatchObject({ requested: [], values: ['a'], error: undefined });
    const alone = new AbortController();
    const last = ask(answers, ['b'], { wait: 50, signal: alone.signal });
    alone.abort();
    expect((await last).error).toMatchObject({ code: 'ABORTED' });
    expect(await ask(answers, ['b'])).toMatchObject({ requested: ['b'], values: ['b'], error: undefined });
  });

  it('keeps what was answered before a failure, and asks for the rest alone', async () => {
    const file = path();
    const answers = await Answers.open(file);
    const failed = await ask(answers, ['a', 'b', 'c'], { fail: 'b' });
    expect(failed.error?.message).toBe('cannot say b');
    await answers.close();
    const again = await Answers.open(file);
    const rest = await ask(again, ['a', 'b', 'c']);
    expect(rest.values).toEqual(['a', 'b', 'c']);
    expect(rest.requested).toContain('b');
    expect(rest.requested).not.toContain('a');
    await again.close();
  });

  it('passes over a torn last line and altered ones, and writes on', async () => {
    const file = path();
    const answers = await Answers.open(file);
    await ask(answers, ['a']);
    await ask(answers, ['b']);
    await ask(answers, ['c']);
    await answers.close();
    const whole = readFileSync(file, 'utf8');
    // Torn at every byte of the last line.
    const last = whole.trimEnd().lastIndexOf('\n') + 1;
    for (let cut = last + 1; cut < whole.length; cut += 7) {
      writeFileSync(file, whole.slice(0, cut));
      const torn = await Answers.open(file);
      expect(torn.size).toBe(2);
      expect(await ask(torn, ['a', 'b', 'c'])).toMatchObject({ requested: ['c'], values: ['a', 'b', 'c'] });
      await torn.close();
      const mended = await Answers.open(file);
      expect(mended.size).toBe(3);
      await mended.close();
    }
    writeFileSync(file, whole.replace('"answer":"b"', '"answer":"x"'));
    const altered = await Answers.open(file);
    expect(altered).toMatchObject({ size: 2, dropped: 1 });
    expect((await ask(altered, ['b'])).requested).toEqual(['b']);
    await altered.close();
    // The header itself torn: an empty cache.
    truncateSync(file, 10);
    const headless = await Answers.open(file);
    expect(headless.size).toBe(0);
    expect((await ask(headless, ['a'])).values).toEqual(['a']);
    await headless.close();
  });

  it('is used by two at a time: nothing is lost', async () => {
    const file = path();
    const [one, two] = [await Answers.open(file), await Answers.open(file)];
    await Promise.all([ask(one, ['a', 'b', 'c', 'd']), ask(two, ['e', 'f', 'g'])]);
    await ask(one, ['h']);
    expect((await ask(one, ['e', 'f', 'g', 'h'])).requested).toEqual([]);
    await Promise.all([one.close(), two.close()]);
    const all = await Answers.open(file);
    expect(all).toMatchObject({ size: 8, dropped: 0 });
    await all.close();
  });

  it('refuses a file of something else, and leaves it alone', async () => {
    const file = path();
    writeFileSync(file, 'my notes\n');
    await expect(Answers.open(file)).rejects.toMatchObject({ code: 'FILE_VERSION' });
    expect(readFileSync(file, 'utf8')).toBe('my notes\n');
    await expect(Answers.open(folder)).rejects.toMatchObject({ code: 'FILE_IO' });
    await expect(Answers.open('')).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  });
});
