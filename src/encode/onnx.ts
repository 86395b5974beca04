/**
 * An encoder that runs a language model in this process: an ONNX file and its tokenizer.json, by onnxruntime-node and
 * @huggingface/tokenizers, which are optional peers of this package.
 *
 * Conversations are tokenised in portions, sorted by length and run in batches of at most `batchTokens` tokens with their
 * padding, so memory depends on the options, not on how many or how long the conversations are.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { checkOptions, PointsmanError } from '../errors.js';
import type { Conversation, Encoder, TaskOptions } from '../types.js';
import { optionalPackage } from './packages.js';
import { POOLINGS, type Pooling, pool } from './pooling.js';
import { checkAll, checkInteger, normaliseRows, textOf } from './text.js';
import { TextTokenizer } from './tokenizer.js';

export interface OnnxEncoderOptions {
  /** Path of the .onnx file: an encoder with inputs `input_ids` and `attention_mask` (and `token_type_ids`, `position_ids` where it has them). */
  model: string;
  /** Path of the model's tokenizer.json. */
  tokenizer: string;
  /** How the vectors of the tokens become one: their `mean`, that of the first (`cls`) or of the `last`. Default mean. */
  pooling?: Pooling | undefined;
  /** The model's output: tokens × dimensions, which is pooled, or one vector a text. Default: its first. */
  output?: string | undefined;
  /** Scales the vectors to length 1. Default true. */
  normalize?: boolean | undefined;
  /** Tokens of a conversation that the model reads, the newest, with the special ones: 8 to what it was made for. Default 512. */
  maxTokens?: number | undefined;
  /** Stands before every conversation: the instruction that some models want. Default none. */
  prefix?: string | undefined;
  /** Tokens of a batch with its padding, 8 to 2^20; a longer conversation is a batch of its own. Default 8,192. */
  batchTokens?: number | undefined;
  /** Of the runtime. Default: its own choice, all cores. */
  threads?: number | undefined;
}

/** Conversations that are tokenised before they are sorted and run. */
const PORTION = 4096;
/** Tokenising is JavaScript: so many conversations in a row, then others get their turn. */
const TURN = 32;
const OPTIONS = ['model', 'tokenizer', 'pooling', 'output', 'normalize', 'maxTokens', 'prefix', 'batchTokens', 'threads'];
const INPUTS = ['input_ids', 'attention_mask', 'token_type_ids', 'position_ids'];

/** What is used of onnxruntime-node. */
interface Tensor {
  readonly type: string;
  readonly dims: readonly number[];
  readonly data: unknown;
  dispose(): void;
}
interface Session {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  readonly inputMetadata?: readonly { name: string; type?: string }[];
  run(feeds: { [name: string]: Tensor }, fetches: readonly string[]): Promise<{ [name: string]: Tensor }>;
  release(): Promise<void>;
}
interface Runtime {
  InferenceSession: { create(path: string, options: object): Promise<Session> };
  Tensor: new (type: string, data: BigInt64Array | Int32Array, dims: readonly number[]) => Tensor;
}

type Settings = Omit<ReturnType<typeof checked>, 'threads' | 'model' | 'tokenizer'>;

export class OnnxEncoder implements Encoder {
  readonly id: string;
  readonly #runtime: Runtime;
  readonly #session: Session;
  readonly #tokenizer: TextTokenizer;
  readonly #settings: Settings;
  #dimensions = 0;
  #running = 0;
  #closed = false;

  private constructor(id: string, runtime: Runtime, session: Session, tokenizer: TextTokenizer, settings: Settings) {
    this.id = id;
    this.#runtime = runtime;
    this.#session = session;
    this.#tokenizer = tokenizer;
    this.#settings = settings;
  }

  /**
   * Loads model and tokenizer, and encodes a word to see what comes.
   * @throws PointsmanError PACKAGE_MISSING, BAD_ARGUMENT, FILE_MISSING, FILE_IO, FILE_CORRUPT for what is no model or tokenizer,
   * WRONG_SHAPE for a model that is no encoder of texts, ABORTED
   */
  static async open(options: OnnxEncoderOptions, tasks: TaskOptions = {}): Promise<OnnxEncoder> {
    const { signal } = checkOptions(tasks, undefined, 'open');
    const { model, tokenizer: tokenizerPath, threads, ...given } = checked(options);
    const runtime = await optionalPackage<Runtime>('onnxruntime-node');
    const { tokenizer, content } = await TextTokenizer.open(tokenizerPath);
    const hash = await digestOf(model, signal);
    const session = await runtime.InferenceSession.create(model, {
      ...(threads !== undefined && { intraOpNumThreads: threads }),
      logSeverityLevel: 4, // what goes wrong is thrown, too
    }).catch((cause: Error) => {
      throw new PointsmanError('FILE_CORRUPT', `${model} could not be loaded as an ONNX model: ${cause.message}`, { cause });
    });
    try {
      const settings = { ...given, output: outputOf(session, given.output, model) };
      if (settings.maxTokens < tokenizer.special + 4) {
        throw new PointsmanError(
          'BAD_ARGUMENT',
          `maxTokens ${settings.maxTokens} leaves no room beside ${tokenizer.special} special tokens`,
        );
      }
      const { pooling, output, normalize, maxTokens, prefix } = settings;
      const tokens = createHash('sha256').update(content).digest('hex').slice(0, 16);
      const id = `onnx ${JSON.stringify({ model: hash, tokenizer: tokens, pooling, output, normalize, maxTokens, prefix })}`;
      const encoder = new OnnxEncoder(id, runtime, session, tokenizer, settings);
      encoder.#dimensions = (await encoder.#run([encoder.#tokens([{ role: 'user', content: 'hello' }])])).length;
      return encoder;
    } catch (error) {
      await session.release();
      throw error;
    }
  }

  get dimensions(): number {
    return this.#dimensions;
  }

  /**
   * A vector for each conversation, row-major.
   * @throws PointsmanError BAD_CONVERSATION, NOT_FINITE where the model gives NaN or infinity, CLOSED, ABORTED
   */
  async encode(conversations: readonly Conversation[], options: TaskOptions = {}): Promise<Float32Array> {
    const { signal, onProgress } = checkOptions(options, undefined, 'encode');
    checkAll(conversations);
    if (this.#closed) throw new PointsmanError('CLOSED', 'the encoder was closed');
    const vectors = new Float32Array(conversations.length * this.#dimensions);
    this.#running++;
    try {
      for (let begin = 0; begin < conversations.length; begin += PORTION) {
        const tokens: Int32Array[] = [];
        for (const conversation of conversations.slice(begin, begin + PORTION)) {
          if (tokens.length % TURN === 0) await turn(signal);
          tokens.push(this.#tokens(conversation));
        }
        let done = begin;
        for (const batch of batchesOf(tokens, this.#settings.batchTokens)) {
          await turn(signal);
          const rows = await this.#run(batch.map((i) => tokens[i] as Int32Array));
          for (const [n, i] of batch.entries()) {
            vectors.set(rows.subarray(n * this.#dimensions, (n + 1) * this.#dimensions), (begin + i) * this.#dimensions);
          }
          done += batch.length;
          onProgress?.({ stage: 'encode', done, total: conversations.length });
        }
      }
    } finally {
      this.#running--;
      if (this.#closed && this.#running === 0) await this.#session.release();
    }
    return vectors;
  }

  /** Frees the model, once what is running has ended. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#running === 0) await this.#session.release();
  }

  #tokens(conversation: Conversation): Int32Array {
    const { prefix, maxTokens } = this.#settings;
    return this.#tokenizer.encode(prefix, (characters) => textOf(conversation, characters), maxTokens);
  }

  /** rows × dimensions */
  async #run(rows: readonly Int32Array[]): Promise<Float32Array> {
    const { output, pooling, normalize } = this.#settings;
    const length = Math.max(...rows.map((row) => row.length));
    const feeds: { [name: string]: Tensor } = {};
    for (const name of this.#session.inputNames) feeds[name] = this.#input(name, rows, length);
    let result: Tensor | undefined;
    try {
      result = (await this.#session.run(feeds, [output]))[output] as Tensor;
      const vectors = pool(result, rows, length, pooling);
      if (this.#dimensions > 0 && vectors.length !== rows.length * this.#dimensions) {
        throw new PointsmanError(
          'WRONG_SHAPE',
          `the model gives ${vectors.length} numbers for ${rows.length} texts of ${this.#dimensions} dimensions`,
        );
      }
      if (!vectors.every(Number.isFinite)) throw new PointsmanError('NOT_FINITE', 'the model gives NaN or infinity');
      if (normalize) normaliseRows(vectors, vectors.length / rows.length);
      return vectors;
    } catch (error) {
      if (error instanceof PointsmanError) throw error;
      throw new PointsmanError(
        'BAD_ARGUMENT',
        `the model could not be run on ${length} tokens (is the tokenizer its own, and maxTokens no more than it takes?): ${(error as Error).message}`,
        { cause: error },
      );
    } finally {
      for (const tensor of Object.values(feeds)) tensor.dispose();
      result?.dispose();
    }
  }

  #input(name: string, rows: readonly Int32Array[], length: number): Tensor {
    const values = new Int32Array(rows.length * length);
    for (const [r, row] of rows.entries()) {
      if (name === 'input_ids') values.set(row, r * length);
      if (name === 'attention_mask') values.fill(1, r * length, r * length + row.length);
      if (name === 'position_ids') for (let t = 0; t < length; t++) values[r * length + t] = t;
    }
    const type = this.#session.inputMetadata?.find((each) => each.name === name)?.type ?? 'int64';
    const data = type === 'int32' ? values : BigInt64Array.from(values, BigInt);
    return new this.#runtime.Tensor(type === 'int32' ? 'int32' : 'int64', data, [rows.length, length]);
  }
}

function checked(options: OnnxEncoderOptions) {
  checkOptions(options, OPTIONS, 'OnnxEncoder');
  const {
    model,
    tokenizer,
    pooling = 'mean',
    output = '',
    normalize = true,
    maxTokens = 512,
    prefix = '',
    batchTokens = 8192,
    threads,
  } = options;
  for (const [name, value] of Object.entries({ model, tokenizer })) {
    if (typeof value !== 'string' || value === '') throw new PointsmanError('BAD_ARGUMENT', `${name} must be the path of a file`);
  }
  for (const [name, value] of Object.entries({ output, prefix })) {
    if (typeof value !== 'string') throw new PointsmanError('BAD_ARGUMENT', `${name} must be a string`);
  }
  if (!POOLINGS.includes(pooling))
    throw new PointsmanError('BAD_ARGUMENT', `pooling must be one of ${POOLINGS.join(', ')}, not ${String(pooling)}`);
  if (typeof normalize !== 'boolean') throw new PointsmanError('BAD_ARGUMENT', `normalize must be true or false, not ${String(normalize)}`);
  checkInteger('maxTokens', maxTokens, 8, 2 ** 20);
  checkInteger('batchTokens', batchTokens, 8, 2 ** 20);
  if (threads !== undefined) checkInteger('threads', threads, 1, 1024);
  return { model, tokenizer, pooling, output, normalize, maxTokens, prefix, batchTokens, threads };
}

function outputOf({ inputNames, outputNames }: Session, asked: string, model: string): string {
  const unknown = inputNames.find((name) => !INPUTS.includes(name));
  if (unknown !== undefined || !inputNames.includes('input_ids')) {
    throw new PointsmanError(
      'WRONG_SHAPE',
      `${model} is no encoder of texts: its inputs are ${inputNames.join(', ')}; known are ${INPUTS.join(', ')}`,
    );
  }
  const output = asked === '' ? outputNames[0] : asked;
  if (output === undefined || !outputNames.includes(output)) {
    throw new PointsmanError('BAD_ARGUMENT', `${model} has no output '${output}'; it has ${outputNames.join(', ')}`);
  }
  return output;
}

/** Places in `tokens`, the longest first; a batch's rows times its longest stay within `most`. */
function batchesOf(tokens: readonly Int32Array[], most: number): number[][] {
  const lengthOf = (i: number) => (tokens[i] as Int32Array).length;
  const order = tokens.map((_, i) => i).sort((a, b) => lengthOf(b) - lengthOf(a) || a - b);
  const batches: number[][] = [];
  for (const i of order) {
    const open = batches.at(-1);
    if (open && (open.length + 1) * lengthOf(open[0] as number) <= most) open.push(i);
    else batches.push([i]);
  }
  return batches;
}

async function turn(signal: AbortSignal | undefined): Promise<void> {
  await setImmediate();
  if (signal?.aborted) throw new PointsmanError('ABORTED', 'encoding was aborted', { cause: signal.reason });
}

/** Names the file by its content. A model's weights in files beside it are not looked at. */
async function digestOf(path: string, signal: AbortSignal | undefined): Promise<string> {
  const hash = createHash('sha256');
  try {
    if (!(await stat(path)).isFile()) throw new PointsmanError('FILE_IO', `${path} is no file`);
    for await (const part of createReadStream(path, { highWaterMark: 1 << 20, ...(signal && { signal }) })) hash.update(part);
  } catch (cause) {
    if (cause instanceof PointsmanError) throw cause;
    if (signal?.aborted) throw new PointsmanError('ABORTED', 'opening the encoder was aborted', { cause: signal.reason });
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    const why = missing ? 'does not exist' : `could not be read: ${(cause as Error).message}`;
    throw new PointsmanError(missing ? 'FILE_MISSING' : 'FILE_IO', `${path} ${why}`, { cause });
  }
  return hash.digest('hex').slice(0, 16);
}
