/**
 * A factorisation's folder:
 *
 *   factors.json       version of the format, the members' settings, counts, and names and checksums of the other files
 *   users-….f32, experts-….f32, gram-….f32    float32, little-endian, row-major
 *   users-….names, experts-….names            the ids: JSON, one a line
 *
 * The others are named after their content, and factors.json comes last: a folder is the old one or the new one.
 */
import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PointsmanError } from '../errors.js';
import type { TaskOptions } from '../types.js';
import { learnAddon } from './addon.js';
import { replaceFiles, writeDurably } from './durable.js';
import { dimensionsOf, type FactorMember } from './factor-models.js';
import type { FactorArrays } from './factorise.js';
import { checkPath, makeFolder } from './folder.js';
import { fileError } from './interactions.js';
import { readSealed, writeSealed } from './sealed.js';

const FORMAT = 'pointsman factors 2';
const PIECE = 2 ** 28; // one read of the system ends at 2^31

interface Part {
  name: string;
  bytes: number;
  checksum: string;
}

interface FactorsFile {
  format: string;
  members: readonly FactorMember[];
  users: number;
  experts: number;
  interactions: number;
  files: { [part: string]: Part };
}

export async function saveFactors(folder: string, arrays: FactorArrays, { signal }: TaskOptions): Promise<void> {
  checkPath(folder, 'folder');
  const { members, users, experts, userVectors, expertVectors, grams, interactions } = arrays;
  const names = (ids: readonly string[]) => Buffer.from(ids.map((id) => JSON.stringify(id)).join('\n'));
  const parts = {
    'users.f32': bytesOf(userVectors),
    'experts.f32': bytesOf(expertVectors),
    'gram.f32': Buffer.concat(grams.map(bytesOf)),
    'users.names': names(users),
    'experts.names': names(experts),
  };
  try {
    await makeFolder(folder);
    const earlier = async () => {
      const before = await readHead(folder).catch(() => undefined);
      return Object.values(before?.files ?? {}).map(({ name }) => name);
    };
    await replaceFiles(folder, earlier, async (after) => {
      const files: { [part: string]: Part } = {};
      for (const [part, bytes] of Object.entries(parts)) {
        if (signal?.aborted) throw new PointsmanError('ABORTED', 'saving the factors was aborted', { cause: signal.reason });
        const checksum = learnAddon().checksum(bytes);
        const name = part.replace('.', `-${checksum}.`);
        files[part] = { name, bytes: bytes.byteLength, checksum };
        after.push(name);
        await writeDurably(join(folder, name), bytes);
      }
      const body: FactorsFile = { format: FORMAT, members, users: users.length, experts: experts.length, interactions, files };
      await writeSealed(join(folder, 'factors.json'), body);
    });
  } catch (error) {
    if (error instanceof PointsmanError) throw error;
    throw new PointsmanError('FILE_IO', `the factors could not be written to ${folder}: ${(error as Error).message}`, { cause: error });
  }
}

export async function openFactors(folder: string, { signal }: TaskOptions): Promise<FactorArrays> {
  checkPath(folder, 'folder');
  const { members, users, experts, interactions, files } = await readHead(folder);
  const part = async (name: string) => {
    if (signal?.aborted) throw new PointsmanError('ABORTED', 'opening the factors was aborted', { cause: signal.reason });
    const wanted = files[name];
    const path = join(folder, wanted?.name ?? name);
    const bytes = await readAll(path);
    if (bytes.byteLength !== wanted?.bytes || learnAddon().checksum(bytes) !== wanted.checksum)
      throw new PointsmanError('FILE_CORRUPT', `${path} is truncated or was altered`);
    return bytes;
  };
  const floats = async (name: string, count: number) => {
    const bytes = await part(name);
    if (bytes.byteLength !== count * 4) throw new PointsmanError('FILE_CORRUPT', `${folder}: ${name} does not fit factors.json`);
    return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  };
  const names = async (name: string, count: number) => {
    const ids = Buffer.from(await part(name))
      .toString('utf8')
      .split('\n')
      .map((line) => JSON.parse(line) as string);
    if (ids.length !== count) throw new PointsmanError('FILE_CORRUPT', `${folder}: ${name} does not fit factors.json`);
    return ids;
  };
  const dimensions = dimensionsOf(members);
  const gram = await floats(
    'gram.f32',
    members.reduce((sum, { factors }) => sum + factors ** 2, 0),
  );
  let end = 0;
  return {
    members,
    users: await names('users.names', users),
    experts: await names('experts.names', experts),
    userVectors: await floats('users.f32', users * dimensions),
    expertVectors: await floats('experts.f32', experts * dimensions),
    grams: members.map(({ factors }) => {
      end += factors ** 2;
      return gram.slice(end - factors ** 2, end);
    }),
    interactions,
  };
}

const readHead = (folder: string) => readSealed<FactorsFile>(join(folder, 'factors.json'), FORMAT);

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** A whole file, also one past 2 GiB, in memory that float32 may lie in. */
async function readAll(path: string): Promise<Uint8Array> {
  try {
    const { size } = await stat(path);
    const bytes = new Uint8Array(size);
    const file = await open(path);
    try {
      for (let at = 0; at < size; ) {
        const { bytesRead } = await file.read(bytes, at, Math.min(PIECE, size - at), at);
        if (bytesRead === 0) break; // it has become shorter: the checksum will not fit
        at += bytesRead;
      }
    } finally {
      await file.close();
    }
    return bytes;
  } catch (error) {
    throw fileError(error, path);
  }
}
