/** Files that are there whole or not at all: written beside their place, synced, and renamed into it. */
import { open, rename, rm } from 'node:fs/promises';

/** A failure, such as of a full disk, leaves the earlier file as it was, and no half of the new one. @throws what the file system throws */
export async function writeDurably(path: string, ...parts: readonly Uint8Array[]): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
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
