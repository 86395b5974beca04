/**
 * Answers that are asked for once: while a request is under way all who want its answer wait for it, and where a file is
 * given, what was answered is kept in it.
 *
 * The file is append-only: a line that names the format, then one JSON object a line with `crc32` (of what follows it in
 * the line, in hexadecimal), `key` (a hash of what was asked; the file holds no text and no key to an endpoint) and
 * `value`. An answer is in the file before anyone gets it, so whatever ends the process, what was paid for is found
 * again; a line that was torn or altered is passed over, and asked for again. Several processes may use one file; they
 * see each other's answers as they write their own.
 */
import { createHash } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { type FileHandle, open } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { PointsmanError } from '../errors.js';
import { unlessAborted } from '../native.js';
import { aborted } from './patience.js';

const HEADER = Buffer.from('{"format":"pointsman answers 1"}\n');
/** `{"crc32":"01234567",` and then `"key":"…","value":` with a key of 43 characters. */
const CHECKED = 20;
const KEY = [CHECKED + 7, CHECKED + 50] as const;
const VALUE = KEY[1] + 10;
const CHUNK = 1 << 20;

export interface AskOptions {
  signal?: AbortSignal | undefined;
  /** Divides what must be asked, given as places in `keys`, into requests. Default: one a key. */
  batch?: ((missing: readonly number[]) => number[][]) | undefined;
  /** Told of every answer, at the latest before `ask` ends. */
  onAnswer: (place: number, value: unknown) => void;
}

export class Answers {
  readonly #path: string | undefined;
  readonly #file: FileHandle | undefined;
  readonly #places = new Map<string, { at: number; bytes: number }>();
  readonly #flights = new Map<string, { flight: Flight; place: number }>();
  #scanned = 0;
  #dropped = 0;
  #writes: Promise<void> = Promise.resolve();

  private constructor(path: string | undefined, file: FileHandle | undefined) {
    this.#path = path;
    this.#file = file;
  }

  /** Without a path only what is under way is shared. @throws PointsmanError BAD_ARGUMENT, FILE_IO, FILE_VERSION for a file of something else */
  static async open(path?: string): Promise<Answers> {
    if (path === undefined) return new Answers(undefined, undefined);
    if (typeof path !== 'string' || path === '') throw new PointsmanError('BAD_ARGUMENT', 'the cache must be the path of a file');
    const file = await open(path, 'a+', 0o600).catch((cause: Error) => {
      throw new PointsmanError('FILE_IO', `the cache ${path} could not be opened: ${cause.message}`, { cause });
    });
    const answers = new Answers(path, file);
    try {
      await answers.#begin(file);
      await answers.#scan(file);
    } catch (error) {
      await file.close();
      throw answers.#ioError(error);
    }
    return answers;
  }

  /** Answers in the file. */
  get size(): number {
    return this.#places.size;
  }

  /** Lines that were torn or altered. */
  get dropped(): number {
    return this.#dropped;
  }

  /** The key of a question: what JSON says of it, hashed (SHA-256, base64url). */
  static key(question: unknown): string {
    return createHash('sha256').update(JSON.stringify(question)).digest('base64url');
  }

  has(key: string): boolean {
    return this.#places.has(key);
  }

  /**
   * Answers to the questions with these keys; `request` is called for those that neither the file has nor anyone is asking.
   * @param request asks for the answers at these places of `keys`, in their order; its signal is aborted once nobody waits
   * @throws PointsmanError ABORTED, FILE_IO, FILE_CORRUPT, and what `request` throws; what was answered until then is kept
   */
  async ask(
    keys: readonly string[],
    request: (places: readonly number[], signal: AbortSignal) => Promise<unknown[]>,
    { signal, batch = (missing) => missing.map((place) => [place]), onAnswer }: AskOptions,
  ): Promise<void> {
    if (signal?.aborted) throw aborted(signal);
    const firsts = new Map<string, number>();
    for (const [place, key] of keys.entries()) {
      if (!firsts.has(key) && !this.#places.has(key) && !this.#underway(key)) firsts.set(key, place);
    }
    for (const places of batch([...firsts.values()])) this.#start(keys, places, request);
    // Who waits for several flights leaves them all when one fails.
    const leave = new AbortController();
    setMaxListeners(0, leave.signal);
    const onAbort = () => leave.abort(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    const byFlight = new Map<Flight, [place: number, from: number][]>();
    const kept: number[] = [];
    for (const [place, key] of keys.entries()) {
      const underway = this.#underway(key);
      if (!underway) {
        kept.push(place);
        continue;
      }
      const wanted = byFlight.get(underway.flight) ?? [];
      wanted.push([place, underway.place]);
      byFlight.set(underway.flight, wanted);
    }
    try {
      const flights = [...byFlight].map(async ([flight, wanted]) => {
        const values = await flight.wait(leave.signal);
        for (const [place, from] of wanted) onAnswer(place, values[from]);
      });
      const reads = this.#readAll(keys, kept, onAnswer, leave.signal);
      await Promise.all([...flights, reads]);
    } catch (error) {
      leave.abort();
      throw signal?.aborted ? aborted(signal) : error;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  async close(): Promise<void> {
    await this.#writes;
    await this.#file?.close();
  }

  #underway(key: string) {
    const found = this.#flights.get(key);
    return found?.flight.left ? undefined : found;
  }

  #start(
    keys: readonly string[],
    places: readonly number[],
    request: (places: readonly number[], signal: AbortSignal) => Promise<unknown[]>,
  ) {
    const own = places.map((place) => keys[place] as string);
    const flight: Flight = new Flight(async (signal) => {
      try {
        const values = await request(places, signal);
        flight.answered = true;
        await this.#append(own, values);
        return values;
      } finally {
        for (const key of own) if (this.#flights.get(key)?.flight === flight) this.#flights.delete(key);
      }
    });
    for (const [place, key] of own.entries()) this.#flights.set(key, { flight, place });
  }

  async #readAll(keys: readonly string[], places: readonly number[], onAnswer: AskOptions['onAnswer'], signal: AbortSignal) {
    for (const place of places) {
      if (signal.aborted) return;
      onAnswer(place, await this.#read(keys[place] as string));
    }
  }

  async #read(key: string): Promise<unknown> {
    const { at, bytes } = this.#places.get(key) as { at: number; bytes: number };
    const line = Buffer.alloc(bytes);
    try {
      await this.#file?.read(line, 0, bytes, at);
    } catch (error) {
      throw this.#ioError(error);
    }
    if (keyOf(line) !== key) throw new PointsmanError('FILE_CORRUPT', `the cache ${this.#path} was altered while it was open`);
    return JSON.parse(line.toString('utf8', VALUE, bytes - 1));
  }

  /** Puts the header on a new file, also on one whose first write was torn. */
  async #begin(file: FileHandle): Promise<void> {
    const head = Buffer.alloc(HEADER.length);
    const { bytesRead } = await file.read(head, 0, head.length, 0);
    const found = head.subarray(0, bytesRead);
    if (!found.equals(HEADER.subarray(0, bytesRead))) {
      throw new PointsmanError('FILE_VERSION', `${this.#path} is no cache of answers, or one of another version`);
    }
    if (bytesRead < HEADER.length) {
      await file.truncate(0);
      await file.writeFile(HEADER);
    }
    this.#scanned = HEADER.length;
  }

  /** One write after another; the lines are then found as those of another process are. */
  #append(keys: readonly string[], values: readonly unknown[]): Promise<void> {
    const file = this.#file;
    if (!file) return Promise.resolve();
    const lines = keys.map((key, n) => {
      const rest = `"key":"${key}","value":${JSON.stringify(values[n])}}`;
      return `{"crc32":"${crc32(rest).toString(16).padStart(8, '0')}",${rest}\n`;
    });
    const write = async () => {
      try {
        // Behind a torn line, or our own that did not fit on a full disk.
        const torn = (await file.stat()).size > this.#scanned;
        await file.writeFile(`${torn ? '\n' : ''}${lines.join('')}`);
        await this.#scan(file);
      } catch (error) {
        throw this.#ioError(error);
      }
    };
    const written = this.#writes.then(write);
    this.#writes = written.catch(() => {});
    return written;
  }

  /** Takes in the whole lines behind what was scanned before. */
  async #scan(file: FileHandle): Promise<void> {
    let rest = Buffer.alloc(0);
    for (;;) {
      const chunk = Buffer.alloc(CHUNK);
      const { bytesRead } = await file.read(chunk, 0, CHUNK, this.#scanned + rest.length);
      if (bytesRead === 0) return;
      const bytes = Buffer.concat([rest, chunk.subarray(0, bytesRead)]);
      let begin = 0;
      for (let end = bytes.indexOf(10, begin); end >= 0; end = bytes.indexOf(10, begin)) {
        const line = bytes.subarray(begin, end);
        const key = keyOf(line);
        if (key !== undefined) this.#places.set(key, { at: this.#scanned + begin, bytes: line.length });
        else if (line.length > 0) this.#dropped++;
        begin = end + 1;
      }
      this.#scanned += begin;
      rest = bytes.subarray(begin);
    }
  }

  #ioError(error: unknown): PointsmanError {
    if (error instanceof PointsmanError) return error;
    return new PointsmanError('FILE_IO', `the cache ${this.#path} could not be read or written: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** The key of a line that is whole and unaltered. */
function keyOf(line: Buffer): string | undefined {
  const whole =
    line.length > VALUE + 1 &&
    line.toString('latin1', 0, 10) === '{"crc32":"' &&
    Number.parseInt(line.toString('latin1', 10, 18), 16) === crc32(line.subarray(CHECKED));
  return whole ? line.toString('latin1', ...KEY) : undefined;
}

/** A request under way, aborted when the last who waited has left. */
class Flight {
  readonly #stop = new AbortController();
  readonly #values: Promise<unknown[]>;
  #waiting = 0;
  /** What remains is to write it down, whoever waits. */
  answered = false;

  constructor(request: (signal: AbortSignal) => Promise<unknown[]>) {
    this.#values = Promise.resolve().then(() => request(this.#stop.signal));
    this.#values.catch(() => {}); // whoever waits hears of it
  }

  get left(): boolean {
    return this.#stop.signal.aborted && !this.answered;
  }

  async wait(signal: AbortSignal): Promise<unknown[]> {
    this.#waiting++;
    try {
      return await unlessAborted('the request', { signal }, () => this.#values);
    } finally {
      if (--this.#waiting === 0) this.#stop.abort();
    }
  }
}
