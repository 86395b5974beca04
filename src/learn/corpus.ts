/**
 * What conversations have in common, before any outcome is looked at: features, and their coordinates on the spectral basis of those
 * (native/train/spectral.hpp).
 *
 * There is one view by the built-in text features and, with an encoder of the user's, one by its vectors. Wordings tell what meaning does
 * not, such as where a question comes from, and the other way round, so learners choose between the views by what they tell held out.
 */
import { textAddon } from '../encode/addon.js';
import { pack } from '../encode/pack.js';
import { PointsmanError } from '../errors.js';
import { run } from '../native.js';
import type { Attributes, Conversation, Encoder } from '../types.js';
import { type Factors, learnAddon } from './addon.js';
import { attributeCoordinates, attributeWidth, type KnownAttribute, knownAttributes } from './attributes.js';
import { encodeWith } from './encoder.js';
import type { Work } from './learn.js';

export interface View {
  /** Features: a row a conversation. */
  rows: { starts: Uint32Array; columns: Uint32Array; values: Float32Array };
  /** q: leading directions that the regressions see. */
  spectral: number;
  /** U, conversations × q */
  vectors: Float32Array;
  /** σ² */
  eigenvalues: Float64Array;
  /** q and those of the attributes */
  dimensions: number;
  /** conversations × dimensions: Z = U Σ², then the attributes' coordinates times ATTRIBUTE_SCALE */
  coordinates: Float32Array;
}

export interface TextView extends View {
  idf: Float32Array;
}

/** By an encoder of the user's: `values` of the rows are (vector − centre) · scale, all of its dimensions in each row. */
export interface EncodedView extends View {
  encoder: Encoder;
  centre: Float32Array;
  scale: number;
}

export interface Corpus {
  text: TextView;
  encoded: EncodedView | undefined;
  attributes: KnownAttribute[];
}

/** Factors whose projection is the sum of several, each of a view's coordinates. */
export interface ViewFactors extends Omit<Factors, 'projection'> {
  parts: readonly Part[];
}

export interface Part {
  view: View;
  /** view.dimensions × rank */
  projection: Float32Array;
}

/** Factors on the coordinates of one view. */
export function seenIn(view: View, { projection, ...factors }: Factors): ViewFactors {
  return { ...factors, parts: [{ view, projection }] };
}

/** Leading directions that the regressions see. */
const SPECTRAL_DIMENSIONS = 192;
/** Vectors that would have to be enlarged so much tell nothing, and products with float32 numbers would overflow. */
const MOST_SCALE = 1e30;
/** What the regressions see of an attribute: with a penalty l, a value's effect is held by (l / scale)² pseudo-outcomes. */
export const ATTRIBUTE_SCALE = 8;

/** @throws PointsmanError BAD_CONVERSATION, NOT_ENOUGH_DATA, BAD_ARGUMENT, ABORTED, what the encoder throws, and of its vectors WRONG_SHAPE, NOT_FINITE */
export async function analyse(
  conversations: readonly Conversation[],
  attributes: readonly Attributes[],
  work: Work,
  encoder?: Encoder,
): Promise<Corpus> {
  const known = knownAttributes(attributes);
  const { idf, rows } = await textRows(conversations, work);
  const encoded = encoder && (await vectorRows(encoder, conversations, work));
  return {
    text: { idf, ...(await viewOf(rows, known, attributes, work)) },
    encoded: encoded && { encoder, ...encoded, ...(await viewOf(encoded.rows, known, attributes, work)) },
    attributes: known,
  };
}

/** All views, the one that costs least to serve first. */
export function viewsOf({ text, encoded }: Corpus): View[] {
  return encoded ? [text, encoded] : [text];
}

async function textRows(conversations: readonly Conversation[], { threads, tasks }: Work) {
  const addon = textAddon();
  const packed = pack(conversations);
  const counts = await run((listener) => addon.textFeatures(...packed, new Float32Array(0), threads, listener), 'count n-grams', tasks);
  const idf = addon.inverseFrequencies(counts.columns, conversations.length);
  const rows = await run((listener) => addon.textFeatures(...packed, idf, threads, listener), 'weigh n-grams', tasks);
  return { rows, idf };
}

/**
 * Vectors as rows of features: centred, and scaled by one number, so that their mean square length is 1, as that of the
 * text features is.
 */
async function vectorRows(encoder: Encoder, conversations: readonly Conversation[], { tasks }: Work) {
  const { dimensions } = encoder;
  const count = conversations.length;
  const most = textAddon().textColumns(); // columns that rows may have
  if (dimensions > most || count * dimensions >= 2 ** 32) {
    throw new PointsmanError(
      'BAD_ARGUMENT',
      `${count} vectors of ${dimensions} dimensions are too many: ${most} dimensions and 2^32 numbers are the limit`,
    );
  }
  if (count < 2) throw new PointsmanError('NOT_ENOUGH_DATA', 'one conversation alone teaches nothing');
  const vectors = await encodeWith(encoder, dimensions, conversations, tasks);
  const sums = new Float64Array(dimensions);
  for (let i = 0; i < vectors.length; i++) sums[i % dimensions] = (sums[i % dimensions] as number) + (vectors[i] as number);
  const centre = Float32Array.from(sums, (sum) => sum / count);
  let squares = 0;
  for (let i = 0; i < vectors.length; i++) squares += ((vectors[i] as number) - (centre[i % dimensions] as number)) ** 2;
  const scale = 1 / Math.sqrt(squares / count);
  if (!(scale < MOST_SCALE)) throw new PointsmanError('NOT_ENOUGH_DATA', 'the encoder gives every conversation the same vector');
  const rows = {
    starts: Uint32Array.from({ length: count + 1 }, (_, i) => i * dimensions),
    columns: Uint32Array.from(vectors, (_, i) => i % dimensions),
    values: vectors.map((value, i) => (value - (centre[i % dimensions] as number)) * scale),
  };
  return { rows, centre, scale };
}

async function viewOf(
  rows: View['rows'],
  known: readonly KnownAttribute[],
  attributes: readonly Attributes[],
  { seed, threads, tasks }: Work,
): Promise<View> {
  const basis = await run(
    (listener) => learnAddon().spectralBasis(rows, SPECTRAL_DIMENSIONS, seed, threads, listener),
    'spectral basis',
    tasks,
  );
  const { dimensions: spectral, vectors, eigenvalues } = basis;
  const dimensions = spectral + attributeWidth(known);
  const coordinates = new Float32Array(attributes.length * dimensions);
  for (const [i, given] of attributes.entries()) {
    for (let k = 0; k < spectral; k++) {
      coordinates[i * dimensions + k] = (vectors[i * spectral + k] as number) * (eigenvalues[k] as number);
    }
    attributeCoordinates(known, given, coordinates, i * dimensions + spectral);
    for (let k = i * dimensions + spectral; k < (i + 1) * dimensions; k++) coordinates[k] = ATTRIBUTE_SCALE * (coordinates[k] as number);
  }
  return { rows, spectral, vectors, eigenvalues, dimensions, coordinates };
}
