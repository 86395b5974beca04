/**
 * A model's folder:
 *
 *   model.json        version of the format, of the model, the parameters, and checksums of everything
 *   text-….bin      where the model reads text, little-endian: the idf of unseen columns (float32), the number of stored columns
 *                   (uint32), their numbers (uint32 each), their idf (float32 each), their rows of the projection (p × float32 each)
 *   head-….bin      what the model makes of the vectors of the user's encoder, where it makes anything of them (encoder.ts)
 *   beliefs-….bin   what is believed of the experts (beliefs-file.ts), where the model was learned with beliefs
 *   neighbours-….index  the engine's snapshot of the remembered conversations' directions, where the model has such (neighbours.ts)
 *   experts-….index   the engine's snapshot of the experts' vectors (it carries its own checksums)
 *
 * Each file is written beside its place and renamed into it, model.json last: it names the version of the others, so a
 * folder that was torn between two models is noticed.
 */
import { open, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { featureColumns } from '../encode/index.js';
import { ExpertIndex } from '../engine/index.js';
import { PointsmanError } from '../errors.js';
import type { Encoder, TaskOptions } from '../types.js';
import { learnAddon } from './addon.js';
import { openBeliefs, saveBeliefs } from './beliefs-file.js';
import { replaceFiles, writeDurably } from './durable.js';
import { checkFits, type HeadArrays, packHead, unpackHead } from './encoder.js';
import { checkPath, makeFolder } from './folder.js';
import { fileError } from './interactions.js';
import type { ModelArrays, ModelParameters, TextArrays } from './model.js';
import { readSealed, writeSealed } from './sealed.js';

const FORMAT = 'pointsman model 2';
/** Of a snapshot of the engine. */
const HEADER_BYTES = 4096;

interface CheckedFile {
  name: string;
  bytes: number;
  checksum: string;
}

/** `start`: checksum of the snapshot's first bytes, which hold hashes of all that follows (native/core/file.cpp). */
interface Snapshot {
  name: string;
  start: string;
}

interface ModelFile {
  format: string;
  version: string;
  parameters: ModelParameters;
  files: {
    text?: CheckedFile;
    head?: CheckedFile;
    experts: Snapshot;
    beliefs?: { name: string };
    neighbours?: Snapshot;
  };
}

export async function saveFolder(
  folder: string,
  parameters: ModelParameters,
  arrays: ModelArrays,
  index: ExpertIndex,
  version: string,
  { signal }: TaskOptions,
): Promise<void> {
  checkPath(folder, 'folder');
  const { text, head, beliefs } = arrays;
  const packed = {
    ...(text && { text: packText(text, parameters.dimensionNames.length) }),
    ...(head && { head: packHead(head) }),
  };
  // Named after the version: the files of a model that is replaced stay whole until model.json points elsewhere.
  const checked = (kind: string, bytes: Uint8Array): CheckedFile => ({
    name: `${kind}-${version}.bin`,
    bytes: bytes.byteLength,
    checksum: learnAddon().checksum(bytes),
  });
  const files: ModelFile['files'] = {
    ...(packed.text && { text: checked('text', packed.text) }),
    ...(packed.head && { head: checked('head', packed.head) }),
    experts: { name: `experts-${version}.index`, start: '' },
    ...(beliefs && { beliefs: { name: `beliefs-${version}.bin` } }),
    ...(head?.memory && { neighbours: { name: `neighbours-${version}.index`, start: '' } }),
  };
  try {
    await makeFolder(folder);
    const earlier = async () => {
      const before = await readModelFile(folder).catch(() => undefined);
      return Object.values(before?.files ?? {}).map(({ name }) => name);
    };
    await replaceFiles(folder, earlier, async (after) => {
      after.push(...Object.values(files).map(({ name }) => name));
      for (const kind of ['text', 'head'] as const) {
        if (packed[kind] && files[kind]) await writeDurably(join(folder, files[kind].name), packed[kind]);
      }
      if (beliefs && files.beliefs) {
        const heard = new Float64Array(beliefs.ids.length).fill(Number.NaN);
        await saveBeliefs(join(folder, files.beliefs.name), {
          beliefs,
          modelVersion: version,
          updates: 0,
          heard,
          past: [],
        });
      }
      const snapshot = async (saved: ExpertIndex, file: Snapshot) => {
        await saved.save(join(folder, file.name), { signal });
        file.start = await startOf(join(folder, file.name));
      };
      if (head?.memory && files.neighbours) await snapshot(head.memory.index, files.neighbours);
      await snapshot(index, files.experts);
      const body: ModelFile = { format: FORMAT, version, parameters, files };
      await writeSealed(join(folder, 'model.json'), body);
    });
  } catch (error) {
    if (error instanceof PointsmanError) throw error;
    throw new PointsmanError('FILE_IO', `the model could not be written to ${folder}: ${(error as Error).message}`, { cause: error });
  }
}

interface OpenedFolder {
  parameters: ModelParameters;
  arrays: ModelArrays;
  index: ExpertIndex;
  version: string;
}

/** What `use` makes of it; its indexes are closed where that fails. */
export async function openFolder<T>(
  folder: string,
  { signal, threads, encoder }: TaskOptions & { threads?: number | undefined; encoder?: Encoder | undefined },
  use: (opened: OpenedFolder) => T,
): Promise<T> {
  checkPath(folder, 'folder');
  const { version, parameters, files } = await readModelFile(folder);
  checkFits(encoder, parameters.encoder);
  const [text, head] = [files.text && (await readChecked(folder, files.text)), files.head && (await readChecked(folder, files.head))];
  const p = parameters.dimensionNames.length;
  const opened: ExpertIndex[] = [];
  const openIndex = async ({ name, start }: Snapshot) => {
    const snapshot = join(folder, name);
    const found = await startOf(snapshot).catch((error: unknown) => {
      throw fileError(error, snapshot);
    });
    const index = await ExpertIndex.open(snapshot, { threads, signal });
    opened.push(index);
    if (found !== start) throw new PointsmanError('FILE_CORRUPT', `${snapshot} is of another model`);
    return index;
  };
  try {
    const arrays: ModelArrays = {
      text: text && unpackText(text.bytes, p, text.path),
      head: head && openHead(head.bytes, head.path, parameters, files.neighbours && (await openIndex(files.neighbours))),
    };
    const index = await openIndex(files.experts);
    if (files.beliefs && parameters.beliefs) {
      arrays.beliefs = (await openBeliefs(join(folder, files.beliefs.name), parameters.beliefs, version)).beliefs;
    }
    return use({ parameters, arrays, index, version });
  } catch (error) {
    for (const index of opened) index.close();
    throw error;
  }
}

async function readChecked(folder: string, { name, bytes: size, checksum }: CheckedFile) {
  const path = join(folder, name);
  const bytes = await readFile(path).catch((error: unknown) => {
    throw fileError(error, path);
  });
  if (bytes.byteLength !== size || learnAddon().checksum(bytes) !== checksum) {
    throw new PointsmanError('FILE_CORRUPT', `${path} is truncated or was altered`);
  }
  return { path, bytes };
}

function openHead(
  bytes: Uint8Array,
  path: string,
  { dimensionNames, encoder, neighbours, reads }: ModelParameters,
  index: ExpertIndex | undefined,
): HeadArrays {
  const wide = encoder?.dimensions ?? 0;
  const p = reads.includes('encoder') ? dimensionNames.length : 0;
  const { conversations = 0, outputs = 0 } = neighbours ?? {};
  const { head, told } = unpackHead(bytes, wide, p, conversations * outputs, path);
  if (!neighbours) return head;
  if (index?.size !== conversations || index.dimensions !== wide || outputs > dimensionNames.length)
    throw new PointsmanError('FILE_CORRUPT', `${path} has the neighbours of another model`);
  const { share, count, shrinkage } = neighbours;
  return { ...head, memory: { settings: { count, shrinkage }, share, index, told, outputs } };
}

/** @throws PointsmanError FILE_MISSING, FILE_IO, FILE_CORRUPT, FILE_VERSION */
async function readModelFile(folder: string): Promise<ModelFile> {
  const path = join(folder, 'model.json');
  const read = await readSealed<ModelFile>(path, FORMAT);
  const { parameters, files } = read;
  const { reads, encoder, neighbours } = parameters ?? {};
  const whole =
    Array.isArray(reads) &&
    Array.isArray(parameters.dimensionNames) &&
    Array.isArray(parameters.metrics) &&
    reads.includes('text') === (files?.text !== undefined) &&
    (reads.includes('encoder') || neighbours !== undefined) === (files.head !== undefined) &&
    (neighbours !== undefined) === (files.neighbours !== undefined) &&
    (files.head === undefined || encoder !== undefined) &&
    files.experts !== undefined &&
    Object.values(files).every((file) => typeof file?.name === 'string' && basename(file.name) === file.name);
  if (!whole) throw new PointsmanError('FILE_CORRUPT', `${path} does not tell of the files that its model needs`);
  return read;
}

/** Checksum of a snapshot's header. */
async function startOf(path: string): Promise<string> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEADER_BYTES), 0, HEADER_BYTES, 0);
    return learnAddon().checksum(buffer.subarray(0, bytesRead));
  } finally {
    await file.close();
  }
}

/** Only the columns that occurred are stored: the projection of the others is zero, their idf the largest. */
function packText({ idf, projection }: TextArrays, p: number): Uint8Array {
  const unseen = idf.reduce((largest, value) => Math.max(largest, value), 0);
  const stored: number[] = [];
  for (let c = 0; c < idf.length; c++) {
    if (idf[c] !== unseen || projection.subarray(c * p, (c + 1) * p).some((value) => value !== 0)) stored.push(c);
  }
  const out = new DataView(new ArrayBuffer(8 + stored.length * (8 + 4 * p)));
  out.setFloat32(0, unseen, true);
  out.setUint32(4, stored.length, true);
  for (const [n, c] of stored.entries()) {
    out.setUint32(8 + 4 * n, c, true);
    out.setFloat32(8 + 4 * (stored.length + n), idf[c] as number, true);
    for (let j = 0; j < p; j++) out.setFloat32(8 + 4 * (2 * stored.length + n * p + j), projection[c * p + j] as number, true);
  }
  return new Uint8Array(out.buffer);
}

function unpackText(bytes: Uint8Array, p: number, path: string): TextArrays {
  const corrupt = () => new PointsmanError('FILE_CORRUPT', `${path} does not fit its model.json`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.byteLength < 8) throw corrupt();
  const columns = featureColumns();
  const stored = view.getUint32(4, true);
  if (bytes.byteLength !== 8 + stored * (8 + 4 * p)) throw corrupt();
  const idf = new Float32Array(columns).fill(view.getFloat32(0, true));
  const projection = new Float32Array(columns * p);
  for (let n = 0; n < stored; n++) {
    const c = view.getUint32(8 + 4 * n, true);
    if (c >= columns) throw corrupt();
    idf[c] = view.getFloat32(8 + 4 * (stored + n), true);
    for (let j = 0; j < p; j++) projection[c * p + j] = view.getFloat32(8 + 4 * (2 * stored + n * p + j), true);
  }
  return { idf, projection };
}
