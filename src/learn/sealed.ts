/** JSON files that carry their format and a checksum of everything else in them. */
import { readFile } from 'node:fs/promises';
import { PointsmanError } from '../errors.js';
import { learnAddon } from './addon.js';
import { writeDurably } from './durable.js';
import { fileError } from './interactions.js';

function checksumOf(body: object): string {
  return learnAddon().checksum(Buffer.from(JSON.stringify(body)));
}

/** @throws PointsmanError FILE_IO */
export async function writeSealed(path: string, body: { format: string }): Promise<void> {
  await writeDurably(path, Buffer.from(`${JSON.stringify({ checksum: checksumOf(body), ...body }, null, 2)}\n`));
}

/** @throws PointsmanError FILE_MISSING, FILE_IO, FILE_CORRUPT, FILE_VERSION */
export async function readSealed<T extends { format: string }>(path: string, format: string): Promise<T> {
  const content = await readFile(path, 'utf8').catch((error: unknown) => {
    throw fileError(error, path);
  });
  let parsed: (T & { checksum: unknown }) | null;
  try {
    parsed = JSON.parse(content);
  } catch (cause) {
    throw new PointsmanError('FILE_CORRUPT', `${path} is truncated or was altered: ${(cause as Error).message}`, { cause });
  }
  if (parsed === null || typeof parsed !== 'object') throw new PointsmanError('FILE_CORRUPT', `${path} was altered`);
  const { checksum, ...body } = parsed;
  if (body.format !== format) throw new PointsmanError('FILE_VERSION', `${path} is not of the format '${format}'`);
  if (checksum !== checksumOf(body)) throw new PointsmanError('FILE_CORRUPT', `${path} was altered`);
  return body as unknown as T;
}
