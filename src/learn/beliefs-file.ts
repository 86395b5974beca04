/**
 * Beliefs in a file:
 *
 *   4 bytes    length of the header, little-endian
 *   16 bytes   checksum of the header, hexadecimal
 *   header     JSON: format, version of the model, ids, counts, and a checksum of every part
 *   parts      float32, little-endian: scores, then for each metric means, diagonals, columns and the priors that are not 1
 *              (in the order of the header's places); float64: when each expert was last heard of (milliseconds)
 *
 * Written beside its place and renamed into it: a full disk leaves the earlier file whole.
 */
import { readFile } from 'node:fs/promises';
import { PointsmanError } from '../errors.js';
import { learnAddon } from './addon.js';
import { type BeliefParameters, Beliefs } from './beliefs.js';
import { writeDurably } from './durable.js';
import { checkPath } from './folder.js';
import { fileError } from './interactions.js';
import type { ModelVersion } from './live.js';
import { Posterior } from './posterior.js';

const FORMAT = 'pointsman beliefs 2';
const PREAMBLE = 20;

/** Beliefs with what an online learner keeps besides. */
export interface BeliefState {
  beliefs: Beliefs;
  /** Of the model that they belong to. */
  modelVersion: string;
  /** Values of metrics taken in since learning. */
  updates: number;
  /** One an expert, milliseconds since 1970; NaN: never. */
  heard: Float64Array;
  /** Versions before the model's. */
  past: readonly ModelVersion[];
}

interface Header {
  format: string;
  modelVersion: string;
  ids: string[];
  updates: number;
  past: readonly ModelVersion[];
  /** By metric, the places of experts whose prior is not 1. */
  priors: number[][];
  parts: { bytes: number; checksum: string }[];
}

/** @throws PointsmanError FILE_IO */
export async function saveBeliefs(path: string, { beliefs, modelVersion, updates, heard, past }: BeliefState): Promise<void> {
  checkPath(path, 'path');
  const posteriors = beliefs.posteriors.map((each) => each.parts());
  const arrays: (Float32Array | Float64Array)[] = [beliefs.scores];
  for (const { mean, diagonal, columns, priors } of posteriors) {
    arrays.push(mean, diagonal, columns, Float32Array.from([...priors.values()].flatMap((prior) => [...prior])));
  }
  arrays.push(heard);
  const parts = arrays.map(({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength));
  const header: Header = {
    format: FORMAT,
    modelVersion,
    ids: [...beliefs.ids],
    updates,
    past,
    priors: posteriors.map(({ priors }) => [...priors.keys()]),
    parts: parts.map((part) => ({ bytes: part.byteLength, checksum: learnAddon().checksum(part) })),
  };
  const json = Buffer.from(JSON.stringify(header));
  const preamble = Buffer.alloc(PREAMBLE);
  preamble.writeUInt32LE(json.length);
  preamble.write(learnAddon().checksum(json), 4, 'latin1');
  await writeDurably(path, preamble, json, ...parts).catch((error: unknown) => {
    throw new PointsmanError('FILE_IO', `${path} could not be written: ${(error as Error).message}`, { cause: error });
  });
}

/** @throws PointsmanError FILE_MISSING, FILE_IO, FILE_CORRUPT, FILE_VERSION where it belongs to another model */
export async function openBeliefs(path: string, parameters: BeliefParameters, modelVersion: string): Promise<BeliefState> {
  checkPath(path, 'path');
  const bytes = await readFile(path).catch((error: unknown) => {
    throw fileError(error, path);
  });
  const corrupt = (what = 'is truncated or was altered') => new PointsmanError('FILE_CORRUPT', `${path} ${what}`);
  if (bytes.length < PREAMBLE) throw corrupt();
  const end = PREAMBLE + bytes.readUInt32LE();
  const json = bytes.subarray(PREAMBLE, end);
  if (end > bytes.length || learnAddon().checksum(json) !== bytes.toString('latin1', 4, PREAMBLE)) throw corrupt();
  let header: Header;
  try {
    header = JSON.parse(json.toString());
  } catch (cause) {
    throw new PointsmanError('FILE_CORRUPT', `${path} was altered`, { cause });
  }
  if (header.format !== FORMAT) throw new PointsmanError('FILE_VERSION', `${path} is not of the format '${FORMAT}'`);
  if (header.modelVersion !== modelVersion) {
    throw new PointsmanError('FILE_VERSION', `${path} belongs to the model ${header.modelVersion}, not to ${modelVersion}`);
  }
  const { ids, updates, past, priors } = header;
  const n = parameters.dimensions + 1;
  const D = parameters.content?.dimensions.length ?? 0;
  const lengths = parameters.metrics.flatMap((_, r) =>
    [n, n, n * parameters.rank].map((width) => ids.length * width).concat((priors[r]?.length ?? 0) * n),
  );
  const expected = [ids.length * D, ...lengths].map((length) => 4 * length).concat(8 * ids.length);
  if (header.parts.length !== expected.length || header.parts.some((part, i) => part.bytes !== expected[i])) {
    throw corrupt('does not fit its model');
  }
  let at = end;
  const parts = header.parts.map(({ bytes: length, checksum }) => {
    const part = new Uint8Array(bytes.subarray(at, at + length)); // a copy of its own, so aligned
    at += length;
    if (part.byteLength !== length || learnAddon().checksum(part) !== checksum) throw corrupt();
    return part.buffer;
  });
  if (at !== bytes.length) throw corrupt();
  const floats = (i: number) => new Float32Array(parts[i] as ArrayBuffer);
  const posteriors = parameters.metrics.map((_, r) => {
    const [mean, diagonal, columns, own] = [1, 2, 3, 4].map((i) => floats(4 * r + i)) as [
      Float32Array,
      Float32Array,
      Float32Array,
      Float32Array,
    ];
    const posterior = Posterior.of(n, parameters.rank, ids.length, { mean, diagonal, columns });
    for (const [i, place] of (priors[r] as number[]).entries()) posterior.setPrior(place, own.slice(i * n, (i + 1) * n));
    return posterior;
  });
  const heard = new Float64Array(parts.at(-1) as ArrayBuffer);
  return { beliefs: new Beliefs(parameters, ids, floats(0), posteriors), modelVersion, updates, heard, past };
}
