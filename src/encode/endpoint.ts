/** An encoder behind an OpenAI-compatible endpoint (`POST …/embeddings`): a model served elsewhere reads the conversations. */
import { checkOptions, PointsmanError } from '../errors.js';
import { Answers, CLIENT_OPTIONS, Client, type ClientOptions } from '../remote/index.js';
import type { Conversation, Encoder, TaskOptions } from '../types.js';
import { checkAll, checkInteger, normaliseRows, textOf } from './text.js';

export interface EndpointEncoderOptions extends ClientOptions {
  /** As the endpoint names it. */
  model: string;
  /** Of the model's vectors. Default: what the endpoint gives for one word that is asked for first. */
  dimensions?: number | undefined;
  /** Asks the endpoint for vectors of `dimensions`, for models that can shorten theirs. Default false. */
  shorten?: boolean | undefined;
  /** Texts in a request, 1–2048. Default 64. */
  batch?: number | undefined;
  /**
   * UTF-16 units of a conversation that the model reads, the newest; below its limit, for endpoints refuse longer texts.
   * Default 8,000, which fits 8,192 tokens in any language.
   */
  maxCharacters?: number | undefined;
  /** Stands before every text: the instruction that some models want. Default none. */
  prefix?: string | undefined;
  /** Scales the vectors to length 1. Default true. */
  normalize?: boolean | undefined;
  /** A file that keeps what was answered (remote/answers.ts). Default none. */
  cache?: string | undefined;
}

/** Characters in a request at most, beside `batch`: some servers count the tokens of the whole. */
const BATCH_CHARACTERS = 200_000;
const MAX_DIMENSIONS = 65_536;
const OPTIONS = [...CLIENT_OPTIONS, 'model', 'dimensions', 'shorten', 'batch', 'maxCharacters', 'prefix', 'normalize', 'cache'];

export class EndpointEncoder implements Encoder {
  readonly id: string;
  readonly #client: Client;
  readonly #answers: Answers;
  readonly #model: string;
  readonly #shorten: number | undefined;
  readonly #batch: number;
  readonly #maxCharacters: number;
  readonly #prefix: string;
  readonly #normalize: boolean;
  readonly #running = new Set<Promise<unknown>>();
  #dimensions: number | undefined;
  #closed = false;

  private constructor(client: Client, answers: Answers, options: EndpointEncoderOptions) {
    const { model, dimensions, shorten = false, batch = 64, maxCharacters = 8000, prefix = '', normalize = true } = options;
    if (typeof model !== 'string' || model === '') throw new PointsmanError('BAD_ARGUMENT', 'model must be the name of an embedding model');
    if (typeof prefix !== 'string') throw new PointsmanError('BAD_ARGUMENT', 'prefix must be a string');
    for (const [name, value] of Object.entries({ shorten, normalize })) {
      if (typeof value !== 'boolean') throw new PointsmanError('BAD_ARGUMENT', `${name} must be true or false, not ${String(value)}`);
    }
    if (dimensions !== undefined) checkInteger('dimensions', dimensions, 1, MAX_DIMENSIONS);
    if (shorten && dimensions === undefined) throw new PointsmanError('BAD_ARGUMENT', 'shorten needs dimensions');
    this.#client = client;
    this.#answers = answers;
    this.#model = model;
    this.#dimensions = dimensions;
    this.#shorten = shorten ? dimensions : undefined;
    this.#batch = checkInteger('batch', batch, 1, 2048);
    this.#maxCharacters = checkInteger('maxCharacters', maxCharacters, 1, 2 ** 24);
    this.#prefix = prefix;
    this.#normalize = normalize;
    // Not the address: the same model may move to another.
    this.id = `endpoint ${JSON.stringify({ model, ...(shorten && { dimensions }), maxCharacters, prefix, normalize })}`;
  }

  /**
   * Asks the endpoint for a vector where `dimensions` is not given, and otherwise for nothing.
   * @throws PointsmanError BAD_ARGUMENT, ENDPOINT_FAILED, BAD_RESPONSE, FILE_IO, FILE_VERSION, ABORTED
   */
  static async open(options: EndpointEncoderOptions, tasks: TaskOptions = {}): Promise<EndpointEncoder> {
    checkOptions(options, OPTIONS, 'EndpointEncoder');
    const { signal } = checkOptions(tasks, undefined, 'open');
    const client = new Client(options);
    const answers = await Answers.open(options.cache);
    try {
      const encoder = new EndpointEncoder(client, answers, options);
      if (encoder.#dimensions === undefined) await encoder.encode([[{ role: 'user', content: 'dimensions' }]], { signal });
      return encoder;
    } catch (error) {
      await answers.close();
      throw error;
    }
  }

  get dimensions(): number {
    return this.#dimensions as number; // `open` hands out no encoder without
  }

  /** Requests sent so far, repeated ones too. */
  get attempts(): number {
    return this.#client.attempts;
  }

  /**
   * A vector for each conversation, row-major; equal texts are asked for once, those of the cache not at all. After a
   * failure the cache keeps what had been answered.
   * @throws PointsmanError BAD_CONVERSATION, ENDPOINT_FAILED, BAD_RESPONSE for a wrong count, wrong dimensions, NaN or
   * infinity, CLOSED, ABORTED, FILE_IO
   */
  async encode(conversations: readonly Conversation[], options: TaskOptions = {}): Promise<Float32Array> {
    checkOptions(options, undefined, 'encode');
    if (this.#closed) throw new PointsmanError('CLOSED', 'the encoder was closed');
    const run = this.#encode(conversations, options);
    this.#running.add(run);
    try {
      return await run;
    } finally {
      this.#running.delete(run);
    }
  }

  async #encode(conversations: readonly Conversation[], { signal, onProgress }: TaskOptions): Promise<Float32Array> {
    checkAll(conversations);
    const room = Math.max(1, this.#maxCharacters - this.#prefix.length);
    const texts = conversations.map((conversation) => this.#prefix + textOf(conversation, room));
    const keys = texts.map((text) => Answers.key(['embedding', this.#model, this.#shorten ?? null, text]));
    let vectors = new Float32Array(0);
    let done = 0;
    await this.#answers.ask(
      keys,
      (places, stop) =>
        this.#request(
          places.map((place) => texts[place] as string),
          stop,
        ),
      {
        signal,
        batch: (missing) => this.#batches(missing, texts),
        onAnswer: (place, value) => {
          const vector = floatsOf(value as string);
          this.#dimensions ??= vector.length;
          if (vector.length !== this.#dimensions) {
            throw new PointsmanError(
              'BAD_RESPONSE',
              `the cache has a vector of ${vector.length} dimensions where ${this.#dimensions} are expected`,
            );
          }
          if (vectors.length === 0) vectors = new Float32Array(texts.length * vector.length);
          vectors.set(vector, place * vector.length);
          onProgress?.({ stage: 'encode', done: ++done, total: texts.length });
        },
      },
    );
    if (this.#normalize) normaliseRows(vectors, this.dimensions);
    return vectors;
  }

  /** Refuses new calls from now on, waits for those that run, and closes the cache. Closing twice is no error. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#running);
    await this.#answers.close();
  }

  #batches(missing: readonly number[], texts: readonly string[]): number[][] {
    const batches: number[][] = [];
    let characters = 0;
    for (const place of missing) {
      const { length } = texts[place] as string;
      const open = batches.at(-1);
      if (open && open.length < this.#batch && characters + length <= BATCH_CHARACTERS) {
        open.push(place);
        characters += length;
      } else {
        batches.push([place]);
        characters = length;
      }
    }
    return batches;
  }

  /** Vectors in base64, as the cache keeps them. */
  async #request(texts: readonly string[], signal: AbortSignal): Promise<string[]> {
    // Some servers refuse a text without content.
    const input = texts.map((text) => (text.trim() === '' ? '.' : text));
    const body = { model: this.#model, input, ...(this.#shorten !== undefined && { dimensions: this.#shorten }) };
    const answer = await this.#client.post('embeddings', body, { signal });
    const vectors = this.#client.understand(() => vectorsOf(answer, texts.length));
    for (const vector of vectors) {
      this.#dimensions ??= vector.length;
      if (vector.length !== this.#dimensions) {
        throw bad(`a vector of ${vector.length} dimensions where ${this.#dimensions} are expected`);
      }
    }
    return vectors.map((vector) => Buffer.from(vector.buffer).toString('base64'));
  }
}

function bad(what: string): PointsmanError {
  return new PointsmanError('BAD_RESPONSE', `the embeddings endpoint answered with ${what}`);
}

/** `{ "data": [{ "index": 0, "embedding": [0.1, …] }, …] }` in the order of the texts. */
function vectorsOf(answer: unknown, count: number): Float32Array[] {
  const data = (answer as { data?: unknown } | null)?.data;
  if (!Array.isArray(data)) throw bad('no list named data');
  if (data.length !== count) throw bad(`${data.length} vectors for ${count} texts`);
  const vectors: Float32Array[] = [];
  for (const [n, item] of data.entries()) {
    const { index = n, embedding } = (item ?? {}) as { index?: unknown; embedding?: unknown };
    if (!Number.isInteger(index) || (index as number) < 0 || (index as number) >= count || vectors[index as number]) {
      throw bad(`the index ${String(index)} among ${count} texts, out of range or twice`);
    }
    if (!Array.isArray(embedding) || embedding.length === 0 || embedding.length > MAX_DIMENSIONS)
      throw bad('an embedding that is no list of numbers');
    const vector = new Float32Array(embedding.length);
    for (const [j, value] of embedding.entries()) {
      vector[j] = typeof value === 'number' ? value : Number.NaN;
      if (!Number.isFinite(vector[j])) throw bad(`${JSON.stringify(value)} in a vector, where a finite number is expected`);
    }
    vectors[index as number] = vector;
  }
  return vectors;
}

function floatsOf(base64: string): Float32Array {
  const bytes = Buffer.from(base64, 'base64');
  return new Float32Array(new Uint8Array(bytes).buffer);
}
