/**
 * The head of a model that was learned with an encoder of the user's: from that encoder's vectors to the feature space.
 *
 *     ψ = (v − centre) · projection + offset
 *
 * with sums in float64 in rising order, and what neighbours tell where the model remembers conversations (neighbours.ts). A model names the encoder it needs, by its dimensions and where it has one its id.
 */
import { checkOptions, PointsmanError } from '../errors.js';
import type { Conversation, Encoder, TaskOptions } from '../types.js';
import { addNeighbours, directionsOf, type Memory } from './neighbours.js';

/** What a model asks of the encoder that it is opened with: model.json. */
export interface EncoderNeeded {
  dimensions: number;
  id?: string;
}

export interface HeadArrays {
  /** The mean vector of the training conversations. */
  centre: Float32Array;
  /** Row-major, the encoder's dimensions × p. */
  projection: Float32Array;
  /** Of training conversations, where the model has one. */
  memory?: Memory | undefined;
}

export class HeadEncoder implements Encoder {
  readonly dimensions: number;
  readonly id: string | undefined;
  readonly #base: Encoder;
  readonly #arrays: HeadArrays;
  readonly #offset: readonly number[] | undefined;

  /** @throws PointsmanError WRONG_ENCODER */
  constructor(base: Encoder | undefined, needed: EncoderNeeded, arrays: HeadArrays, dimensions: number, offset?: readonly number[]) {
    this.#base = fitting(base, needed);
    this.#arrays = arrays;
    this.#offset = offset;
    this.dimensions = dimensions;
    this.id = needed.id;
  }

  /** @throws PointsmanError what the encoder throws, and of its vectors WRONG_SHAPE, NOT_FINITE */
  async encode(conversations: readonly Conversation[], options: TaskOptions = {}): Promise<Float32Array> {
    checkOptions(options, undefined, 'encode');
    const { centre, projection, memory } = this.#arrays;
    const [wide, p] = [centre.length, this.dimensions];
    const vectors = await encodeWith(this.#base, conversations, options);
    const psi = new Float32Array(conversations.length * p);
    const sums = new Float64Array(p);
    for (let i = 0; i < conversations.length; i++) {
      for (let j = 0; j < p; j++) sums[j] = this.#offset?.[j] ?? 0;
      for (let d = 0; d < wide; d++) {
        const x = (vectors[i * wide + d] as number) - (centre[d] as number);
        for (let j = 0; j < p; j++) sums[j] = (sums[j] as number) + x * (projection[d * p + j] as number);
      }
      psi.set(sums, i * p);
    }
    if (memory) await addNeighbours(memory, directionsOf(vectors, centre), psi, p, { signal: options.signal });
    return psi;
  }
}

/** Whether a model that needs this encoder, or none, can be opened with the one that is given. @throws PointsmanError WRONG_ENCODER, BAD_ARGUMENT */
export function checkFits(given: Encoder | undefined, needed: EncoderNeeded | undefined): void {
  if (needed) fitting(given, needed);
  else if (given) throw new PointsmanError('WRONG_ENCODER', 'the model was learned with the built-in encoder and takes no other');
}

function fitting(base: Encoder | undefined, { dimensions, id }: EncoderNeeded): Encoder {
  const wanted = `${id === undefined ? 'an encoder' : `the encoder '${id}'`} of ${dimensions} dimensions`;
  const wrong = (what: string) => new PointsmanError('WRONG_ENCODER', `the model was learned with ${wanted}; ${what}`);
  if (base === undefined) throw wrong('open it with that one ({ encoder }, or --encoder FILE on the command line)');
  checkEncoder(base);
  if (base.dimensions !== dimensions) throw wrong(`this one gives ${base.dimensions}`);
  if (id !== undefined && base.id !== id) throw wrong(base.id === undefined ? 'this one has no id' : `this one is '${base.id}'`);
  return base;
}

/** @throws PointsmanError BAD_ARGUMENT */
export function checkEncoder(encoder: unknown): asserts encoder is Encoder {
  const { encode, dimensions, id } = (encoder ?? {}) as { [field: string]: unknown };
  const whole = typeof encode === 'function' && Number.isInteger(dimensions) && (dimensions as number) > 0;
  if (!whole || (id !== undefined && typeof id !== 'string')) {
    throw new PointsmanError('BAD_ARGUMENT', 'an encoder needs a method encode, dimensions of at least 1, and where it has an id a string');
  }
}

/** The vectors of somebody else's encoder, checked. @throws PointsmanError WRONG_SHAPE, NOT_FINITE */
export async function encodeWith(encoder: Encoder, conversations: readonly Conversation[], options: TaskOptions): Promise<Float32Array> {
  const vectors = await encoder.encode(conversations, options);
  if (!(vectors instanceof Float32Array) || vectors.length !== conversations.length * encoder.dimensions) {
    throw new PointsmanError(
      'WRONG_SHAPE',
      `the encoder did not give ${conversations.length} × ${encoder.dimensions} numbers as a Float32Array`,
    );
  }
  if (!vectors.every(Number.isFinite)) throw new PointsmanError('NOT_FINITE', 'the encoder gave NaN or infinity');
  return vectors;
}

/**
 * Vectors as rows of features: centred, and scaled by one number, so that their mean square length is 1, as that of the
 * text features is.
 * @param most columns that rows may have
 * @returns rows whose first `dimensions` columns are filled
 */
export function rowsOf(vectors: Float32Array, dimensions: number, most: number) {
  const count = vectors.length / dimensions;
  if (dimensions > most || vectors.length >= 2 ** 32) {
    throw new PointsmanError(
      'BAD_ARGUMENT',
      `${count} vectors of ${dimensions} dimensions are too many: ${most} dimensions and 2^32 numbers are the limit`,
    );
  }
  if (count < 2) throw new PointsmanError('NOT_ENOUGH_DATA', 'one conversation alone teaches nothing');
  const sums = new Float64Array(dimensions);
  for (let i = 0; i < vectors.length; i++) sums[i % dimensions] = (sums[i % dimensions] as number) + (vectors[i] as number);
  const centre = Float32Array.from(sums, (sum) => sum / count);
  let squares = 0;
  for (let i = 0; i < vectors.length; i++) squares += ((vectors[i] as number) - (centre[i % dimensions] as number)) ** 2;
  if (!(squares > 0)) throw new PointsmanError('NOT_ENOUGH_DATA', 'the encoder gives every conversation the same vector');
  const scale = 1 / Math.sqrt(squares / count);
  const rows = {
    starts: Uint32Array.from({ length: count + 1 }, (_, i) => i * dimensions),
    columns: Uint32Array.from(vectors, (_, i) => i % dimensions),
    values: vectors.map((value, i) => (value - (centre[i % dimensions] as number)) * scale),
  };
  return { rows, centre, scale };
}

/** Little-endian float32: centre, projection, and what remembered conversations told. */
export function packHead({ centre, projection, memory }: HeadArrays): Uint8Array {
  const parts = [centre, projection, memory?.told ?? new Float32Array(0)];
  const out = new DataView(new ArrayBuffer(parts.reduce((sum, { byteLength }) => sum + byteLength, 0)));
  let at = 0;
  for (const part of parts) {
    for (const value of part) {
      out.setFloat32(at, value, true);
      at += 4;
    }
  }
  return new Uint8Array(out.buffer);
}

/**
 * What `packHead` wrote of a head from `wide` to `p` dimensions, with `told` numbers.
 * @throws PointsmanError FILE_CORRUPT
 */
export function unpackHead(bytes: Uint8Array, wide: number, p: number, told: number, path: string) {
  const size = wide * (1 + p) + told;
  if (bytes.byteLength !== 4 * size) throw new PointsmanError('FILE_CORRUPT', `${path} does not fit its model.json`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const values = Float32Array.from({ length: size }, (_, i) => view.getFloat32(4 * i, true));
  return {
    head: { centre: values.slice(0, wide), projection: values.slice(wide, wide * (1 + p)) },
    told: values.slice(wide * (1 + p)),
  };
}
