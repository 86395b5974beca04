/**
 * A client of OpenAI-compatible endpoints: JSON in, JSON out, over Node's fetch.
 *
 * So many requests at a time; each has a time limit, which covers the reading of the answer. Sent again (patience.ts) are
 * requests that did not come through, whose answer was cut off or is no JSON, and the statuses 408, 409, 425, 429 and 5xx;
 * after a Retry-After the whole client pauses. Any other status is final. Redirects are not followed: they could carry
 * the key elsewhere. Messages show the address without its query, and no part of a key (secrets.ts).
 */
import { PointsmanError } from '../errors.js';
import { aborted, Patience, type PatienceOptions, retryAfter, sleep, tooLong } from './patience.js';
import { apiKeyOf, type KeyOptions, redact } from './secrets.js';
import { Turns } from './turns.js';

export interface ClientOptions extends KeyOptions, PatienceOptions {
  /** Up to the version, such as `https://api.openai.com/v1` or `http://localhost:8000/v1`. A query stays where it is. */
  baseUrl: string;
  /** Further headers, such as `api-key`; their values, from 8 characters on, are kept secret like a key. */
  headers?: { readonly [name: string]: string } | undefined;
  /** Requests at a time, 1–64. Default 8. */
  concurrency?: number | undefined;
  /** Milliseconds that an attempt may take, 1 to 2^31 − 1. Default 60,000. */
  timeout?: number | undefined;
}

export const CLIENT_OPTIONS = [
  'apiKey',
  'apiKeyEnv',
  'retries',
  'backoff',
  'seed',
  'baseUrl',
  'headers',
  'concurrency',
  'timeout',
] as const;

/** No answer that is asked for here comes near it. */
const MOST_BYTES = 256 * 2 ** 20;
const EXCERPT = 300;
const AGAIN = new Set([408, 409, 425, 429]);

/** A failure after which the request may be sent again, and the least pause before that. */
class Passing extends Error {
  constructor(
    readonly error: PointsmanError,
    readonly after = 0,
  ) {
    super();
  }
}

export class Client {
  readonly concurrency: number;
  readonly #base: URL;
  readonly #headers: Headers;
  readonly #secrets: readonly string[];
  readonly #timeout: number;
  readonly #patience: Patience;
  readonly #turns: Turns;
  #attempts = 0;
  #resumeAt = 0;

  /** @throws PointsmanError BAD_ARGUMENT */
  constructor(options: ClientOptions) {
    const { baseUrl, concurrency = 8, timeout = 60_000, headers = {} } = options;
    this.#base = addressOf(baseUrl);
    if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > 64) {
      throw new PointsmanError('BAD_ARGUMENT', `concurrency must be an integer from 1 to 64, not ${String(concurrency)}`);
    }
    if (!Number.isInteger(timeout) || timeout < 1 || timeout >= 2 ** 31) {
      throw new PointsmanError('BAD_ARGUMENT', `timeout must be 1 to 2147483647 milliseconds, not ${String(timeout)}`);
    }
    const key = apiKeyOf(options);
    this.concurrency = concurrency;
    this.#timeout = timeout;
    this.#patience = new Patience(options);
    this.#turns = new Turns(concurrency);
    if (headers === null || typeof headers !== 'object')
      throw new PointsmanError('BAD_ARGUMENT', `headers must be an object of names and values, not ${String(headers)}`);
    this.#headers = headersOf(headers);
    const others = [...Object.values(headers), ...this.#base.searchParams.values()].filter((value) => value.length >= 8);
    this.#secrets = key === undefined ? others : [key, ...others];
    this.#headers.set('content-type', 'application/json');
    if (key !== undefined) this.#headers.set('authorization', `Bearer ${key}`);
  }

  /** Requests sent so far, repeated ones too. */
  get attempts(): number {
    return this.#attempts;
  }

  /**
   * Posts `body` to a path under the base and gives the answer, parsed.
   * @throws PointsmanError ENDPOINT_FAILED, BAD_RESPONSE for an answer that is no JSON at the last attempt, ABORTED
   */
  async post(path: string, body: unknown, { signal }: { signal?: AbortSignal | undefined } = {}): Promise<unknown> {
    const url = new URL(this.#base);
    url.pathname = `${url.pathname.replace(/\/$/, '')}/${path}`;
    const content = JSON.stringify(body);
    for (let failures = 0; ; ) {
      try {
        return await this.#turns.take(() => this.#attempt(url, content, signal), signal);
      } catch (error) {
        if (!(error instanceof Passing)) throw error;
        failures++;
        if (failures > this.#patience.retries) throw this.#giveUp(error.error, failures);
        await sleep(Math.max(error.after, this.#patience.pause(failures)), signal);
      }
    }
  }

  /** What `read` makes of an answer; where it throws, its message tells no secret and is short. */
  understand<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      throw error instanceof PointsmanError ? new PointsmanError(error.code, this.#excerpt(error.message)) : error;
    }
  }

  async #attempt(url: URL, content: string, signal: AbortSignal | undefined): Promise<unknown> {
    // While we slept, another answer may have moved the end of the pause.
    for (let left = this.#resumeAt - Date.now(); left > 0; left = this.#resumeAt - Date.now()) await sleep(left, signal);
    const stop = new AbortController();
    const onAbort = () => stop.abort();
    const timer = setTimeout(() => stop.abort(), this.#timeout);
    signal?.addEventListener('abort', onAbort, { once: true });
    if (signal?.aborted) stop.abort();
    this.#attempts++;
    try {
      const response = await fetch(url, { method: 'POST', headers: this.#headers, body: content, redirect: 'manual', signal: stop.signal });
      const text = await readAll(response);
      if (response.ok) return this.#parse(text, url);
      throw this.#refused(response, text, url);
    } catch (error) {
      if (error instanceof PointsmanError || error instanceof Passing) throw error;
      if (signal?.aborted) throw aborted(signal);
      const why = stop.signal.aborted ? `did not answer within ${this.#timeout} ms` : `could not be reached: ${reasonOf(error)}`;
      throw new Passing(this.#failed(url, why));
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      stop.abort(); // an answer that was not read to its end would hold its connection
    }
  }

  #parse(text: string, url: URL): unknown {
    try {
      return JSON.parse(text);
    } catch {
      const what = `answered with what is no JSON: ${this.#excerpt(text)}`;
      throw new Passing(new PointsmanError('BAD_RESPONSE', `${shown(url)} ${what}`));
    }
  }

  #refused({ status, headers }: Response, text: string, url: URL): PointsmanError | Passing {
    const error = this.#failed(url, `answered with status ${status}: ${this.#excerpt(messageOf(text))}`);
    if (!AGAIN.has(status) && status < 500) return error;
    const wait = status === 429 || status === 503 ? retryAfter(headers.get('retry-after')) : undefined;
    if (wait === undefined) return new Passing(error);
    if (tooLong(wait)) return this.#failed(url, `answered with status ${status} and asks to wait ${Math.round(wait / 1000)} s, too long`);
    this.#resumeAt = Math.max(this.#resumeAt, Date.now() + wait);
    return new Passing(error, wait);
  }

  #failed(url: URL, what: string): PointsmanError {
    return new PointsmanError('ENDPOINT_FAILED', redact(`${shown(url)} ${what}`, this.#secrets));
  }

  #giveUp({ code, message }: PointsmanError, attempts: number): PointsmanError {
    return new PointsmanError(code, attempts > 1 ? `${message} (after ${attempts} attempts)` : message);
  }

  /** Servers like to repeat the key that they refuse. */
  #excerpt(text: string): string {
    const clean = redact(text, this.#secrets).replace(/\s+/g, ' ').trim();
    return clean === '' ? '(nothing)' : clean.length > EXCERPT ? `${clean.slice(0, EXCERPT)} …` : clean;
  }
}

function addressOf(baseUrl: unknown): URL {
  // Never shown in the message: an address may hold a password.
  const bad = (what: string) => new PointsmanError('BAD_ARGUMENT', `baseUrl ${what}`);
  if (typeof baseUrl !== 'string' || !URL.canParse(baseUrl)) throw bad('must be an address such as http://localhost:8000/v1');
  const url = new URL(baseUrl);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw bad('must begin with http:// or https://');
  if (url.username !== '' || url.password !== '') throw bad('must not hold a name or a password: give apiKey, apiKeyEnv or headers');
  url.hash = '';
  return url;
}

function headersOf(given: { readonly [name: string]: string }): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(given)) {
    if (!/^[\w-]+$/.test(name) || typeof value !== 'string' || !/^[\x20-\x7e]*$/.test(value)) {
      throw new PointsmanError('BAD_ARGUMENT', 'headers must be names of letters and hyphens with values in printable ASCII');
    }
    headers.set(name, value);
  }
  return headers;
}

async function readAll(response: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += part.byteLength;
    if (bytes > MOST_BYTES) throw new PointsmanError('BAD_RESPONSE', `${shown(new URL(response.url))} answered with more than 256 MiB`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

/** `{ "error": { "message": … } }`, as most servers word it, or the text itself. */
function messageOf(text: string): string {
  try {
    const { error, message } = JSON.parse(text);
    const found = typeof error === 'string' ? error : (error?.message ?? message);
    return typeof found === 'string' ? found : text;
  } catch {
    return text;
  }
}

/** fetch says 'fetch failed'; its cause says why. */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const code = (cause as { code?: unknown })?.code;
  const message = cause instanceof Error ? cause.message : String(cause);
  return message || String(code);
}

function shown({ origin, pathname }: URL): string {
  return origin + pathname;
}
