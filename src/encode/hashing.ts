/**
 * The built-in encoder: hashed word and character n-grams of the whole conversation (native/text), then a learned
 * linear projection. No download, no language model; microseconds for a message.
 */
import { checkOptions, PointsmanError } from '../errors.js';
import { call, native, run } from '../native.js';
import type { Conversation, Encoder } from '../types.js';
import { type EncoderTables, textAddon } from './addon.js';
import { pack } from './pack.js';

export interface HashingEncoderOptions {
  dimensions: number;
  /** One a column of the hashed features (`featureColumns()`). */
  idf: Float32Array;
  /** Row-major, columns × dimensions. */
  projection: Float32Array;
  /** Added to every vector, one a dimension. Default: nothing. */
  offset?: readonly number[] | undefined;
  /** How many threads one call may use. Default: all. */
  threads?: number | undefined;
}

/** How many columns the hashed features have. */
export function featureColumns(): number {
  return textAddon().textColumns();
}

export class HashingEncoder implements Encoder {
  readonly dimensions: number;
  readonly #tables: EncoderTables;
  readonly #threads: number;
  readonly #offset: readonly number[] | undefined;

  /** The arrays are copied. @throws PointsmanError BAD_ARGUMENT, WRONG_SHAPE, DETACHED_BUFFER, ADDON_NOT_FOUND */
  constructor({ dimensions, idf, projection, offset, threads }: HashingEncoderOptions) {
    this.#threads = threads ?? native().doctor().threads;
    if (!Number.isInteger(this.#threads) || this.#threads < 1 || this.#threads > 1024) {
      throw new PointsmanError('BAD_ARGUMENT', `threads must be an integer from 1 to 1024, not ${String(threads)}`);
    }
    this.#tables = call(() => textAddon().encoderTables(idf, projection, dimensions));
    if (offset !== undefined && offset.length !== dimensions) {
      throw new PointsmanError('WRONG_SHAPE', `the offset has ${offset.length} numbers, not ${dimensions}`);
    }
    this.#offset = offset;
    this.dimensions = dimensions;
  }

  /** @throws PointsmanError BAD_CONVERSATION, ABORTED */
  async encode(conversations: readonly Conversation[], options: { signal?: AbortSignal | undefined } = {}): Promise<Float32Array> {
    const { signal } = checkOptions(options, undefined, 'encode');
    const packed = pack(conversations);
    const rows = await run(() => textAddon().encodeText(...packed, this.#tables, this.#threads), 'encode', { signal });
    const offset = this.#offset;
    return offset === undefined ? rows : rows.map((value, i) => value + (offset[i % offset.length] as number));
  }
}
