/**
 * The encoder of a model that was learned with one of the user's: from the text and that encoder's vectors v to the feature space,
 *
 *     ψ = of the text (HashingEncoder) + (v − centre) · projection + what neighbours tell (neighbours.ts)
 *
 * as far as learning found each worth having; an encoder whose vectors were not is not asked. Sums of the projection are in float64, in
 * rising order. A model names the encoder that it needs, by its dimensions and where it has one its id.
 */
import type { HashingEncoder } from '../encode/index.js';
import { checkAll } from '../encode/text.js';
import { checkOptions, PointsmanError } from '../errors.js';
import { unlessAborted } from '../native.js';
import type { Conversation, Encoder, TaskOptions } from '../types.js';
import { addNeighbours, directionsOf, type Memory } from './neighbours.js';

/** What a model asks of the encoder that it is opened with: model.json. */
export interface EncoderNeeded {
  dimensions: number;
  id?: string;
}

/** What a model makes of its encoder's vectors. */
export interface HeadArrays {
  /** The mean vector of the training conversations. */
  centre: Float32Array;
  /** Row-major, the encoder's dimensions × p; empty where only neighbours are asked. */
  projection: Float32Array;
  /** Of training conversations, where the model has one. */
  memory?: Memory | undefined;
}

export class ModelEncoder implements Encoder {
  readonly dimensions: number;
  readonly id: string | undefined;
  /** The user's. */
  readonly base: Encoder;
  readonly #text: HashingEncoder | undefined;
  readonly #head: HeadArrays | undefined;
  readonly #offset: readonly number[] | undefined;

  /** @param offset what every ψ begins with, where there is no `text` to have it @throws PointsmanError WRONG_ENCODER */
  constructor(
    base: Encoder | undefined,
    needed: EncoderNeeded,
    { text, head }: { text?: HashingEncoder | undefined; head?: HeadArrays | undefined },
    dimensions: number,
    offset?: readonly number[],
  ) {
    this.base = fitting(base, needed);
    this.#text = text;
    this.#head = head;
    this.#offset = offset;
    this.dimensions = dimensions;
    this.id = needed.id;
  }

  /** @throws PointsmanError what the encoder throws, BAD_CONVERSATION, ABORTED, and of its vectors WRONG_SHAPE, NOT_FINITE */
  async encode(conversations: readonly Conversation[], options: TaskOptions = {}): Promise<Float32Array> {
    const { signal } = checkOptions(options, undefined, 'encode');
    const p = this.dimensions;
    const psi = this.#text ? await this.#text.encode(conversations, { signal }) : this.#constant(conversations);
    if (!this.#head) return psi;
    const { centre, projection, memory } = this.#head;
    const vectors = await encodeWith(this.base, centre.length, conversations, options);
    if (projection.length > 0) addProjected(vectors, centre, projection, psi, p);
    if (memory) await addNeighbours(memory, directionsOf(vectors, centre), psi, p, { signal });
    return psi;
  }

  #constant(conversations: readonly Conversation[]): Float32Array {
    checkAll(conversations);
    const psi = new Float32Array(conversations.length * this.dimensions);
    if (this.#offset) for (let i = 0; i < conversations.length; i++) psi.set(this.#offset, i * this.dimensions);
    return psi;
  }
}

function addProjected(vectors: Float32Array, centre: Float32Array, projection: Float32Array, psi: Float32Array, p: number) {
  const wide = centre.length;
  const sums = new Float64Array(p);
  for (let start = 0, i = 0; start < vectors.length; start += wide, i++) {
    for (let j = 0; j < p; j++) sums[j] = psi[i * p + j] as number;
    for (let d = 0; d < wide; d++) {
      const x = (vectors[start + d] as number) - (centre[d] as number);
      for (let j = 0; j < p; j++) sums[j] = (sums[j] as number) + x * (projection[d * p + j] as number);
    }
    psi.set(sums, i * p);
  }
}

/** Whether a model that needs this encoder, or none, can be opened with the one that is given. @throws PointsmanError WRONG_ENCODER, BAD_ARGUMENT */
export function checkFits(given: Encoder | undefined, needed: EncoderNeeded | undefined): void {
  if (needed) fitting(given, needed);
  else if (given !== undefined)
    throw new PointsmanError('WRONG_ENCODER', 'the model was learned with the built-in encoder and takes no other');
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

/**
 * The vectors of somebody else's encoder, checked. It may not hear of an abort: nobody waits for it then.
 * @throws PointsmanError WRONG_SHAPE, NOT_FINITE, ABORTED
 */
export async function encodeWith(
  encoder: Encoder,
  dimensions: number,
  conversations: readonly Conversation[],
  options: TaskOptions,
): Promise<Float32Array> {
  const vectors = await unlessAborted('encode', options, () => encoder.encode(conversations, options));
  if (!(vectors instanceof Float32Array) || vectors.length !== conversations.length * dimensions) {
    throw new PointsmanError('WRONG_SHAPE', `the encoder did not give ${conversations.length} × ${dimensions} numbers as a Float32Array`);
  }
  if (!vectors.every(Number.isFinite)) throw new PointsmanError('NOT_FINITE', 'the encoder gave NaN or infinity');
  return vectors;
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
 * What `packHead` wrote of a head of `wide` dimensions, with a projection to `p` (0: without one) and `told` numbers.
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
