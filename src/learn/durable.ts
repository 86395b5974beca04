/** Files that are there whole or not at all: written beside their place, synced, and renamed into it. */
import { open, readdir, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';

let written = 0; // two writes to one path at a time have files of their own

/** A failure, such as of a full disk, leaves the earlier file as it was, and no half of the new one. @throws what the file system throws */
export async function writeDurably(path: string, ...parts: readonly Uint8Array[]): Promise<void> {
  const temporary = `${path}.${process.pid}-${++written}.tmp`;
  try {
    const file = await open(temporary, 'w');
    try {
      for (const part of parts) await file.writeFile(part);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {}); // the first failure is what there is to say
    throw error;
  }
}

const turns = new Map<string, Promise<void>>();

/**
 * Replaces a folder's files, the last of which names the others. Afterwards those of the earlier set are gone, or, after a failure, those
 * that were written until then: on a full disk nothing stays that nobody names. Calls for one folder take turns, in this process: what one of
 * them removes may be what another has just written.
 * @param earlier tells the names of the earlier set @param write adds the names of what it writes to `after`, and writes the last
 */
export async function replaceFiles(
  folder: string,
  earlier: () => Promise<readonly string[]>,
  write: (after: string[]) => Promise<void>,
): Promise<void> {
  const key = resolve(folder);
  const own = (turns.get(key) ?? Promise.resolve()).then(() => replaceNow(folder, earlier, write));
  const settled = own.catch(() => {});
  turns.set(key, settled);
  try {
    await own;
  } finally {
    if (turns.get(key) === settled) turns.delete(key);
  }
}

async function replaceNow(
  folder: string,
  earlier: () => Promise<readonly string[]>,
  write: (after: string[]) => Promise<void>,
): Promise<void> {
  const present = await readdir(folder);
  const before = await earlier();
  const after: string[] = [];
  const remove = async (names: readonly string[], kept: readonly string[]) => {
    for (const name of names) if (!kept.includes(name)) await rm(join(folder, name), { force: true }).catch(() => {});
  };
  try {
    await write(after);
  } catch (error) {
    await remove(after, present);
    throw error;
  }
  await remove(before, after);
}
