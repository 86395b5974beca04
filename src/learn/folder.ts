/** Folders that are written to: made, and tried out before long work whose result is to go there. */
import { mkdir, mkdtemp, rmdir, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { PointsmanError } from '../errors.js';

/** @throws PointsmanError BAD_ARGUMENT */
export function checkPath(path: unknown, name: string): asserts path is string {
  if (typeof path !== 'string' || path === '') {
    throw new PointsmanError('BAD_ARGUMENT', `${name} must be a path, a string that is not empty, not ${String(path)}`);
  }
  if (path.includes('\0')) throw new PointsmanError('BAD_ARGUMENT', `${name} must be a path without zero bytes`);
}

/**
 * Makes a folder, and its parents where they are missing. `mkdir(path, { recursive: true })` never returns where a file
 * system answers ENOENT to a mkdir in a folder that exists (/proc); here each level is tried twice at most.
 * @throws what mkdir throws
 */
export async function makeFolder(path: string): Promise<void> {
  const make = () =>
    mkdir(path).catch(async (error: NodeJS.ErrnoException) => {
      if (error.code === 'EEXIST' && (await stat(path)).isDirectory()) return;
      throw error;
    });
  await make().catch(async (error: NodeJS.ErrnoException) => {
    const parent = dirname(resolve(path));
    if (error.code !== 'ENOENT' || parent === resolve(path)) throw error;
    await makeFolder(parent);
    await make();
  });
}

/**
 * Can a folder be made, or be written to, at this path? Nothing stays behind.
 * @throws PointsmanError FILE_IO, which names the folder in the way
 */
export async function checkFolder(path: string): Promise<void> {
  const found = await nearest(resolve(path));
  if (!found.isFolder) throw new PointsmanError('FILE_IO', `${path} cannot be a folder: ${found.path} is a file`);
  await tryOut(found.path);
}

/**
 * Can a file be written at this path, whose folder must exist? Nothing stays behind.
 * @throws PointsmanError FILE_MISSING, FILE_IO
 */
export async function checkFile(path: string): Promise<void> {
  const folder = dirname(resolve(path));
  const found = await nearest(resolve(path));
  if (found.path === resolve(path)) {
    if (found.isFolder) throw new PointsmanError('FILE_IO', `${path} is a folder; the name of a file is needed`);
    if (!found.isFile) throw new PointsmanError('FILE_IO', `${path} is a device or a pipe and cannot be replaced by a file`);
  } else if (!found.isFolder) {
    throw new PointsmanError('FILE_IO', `${path} cannot be written: ${found.path} is a file, not a folder`);
  } else if (found.path !== folder) {
    throw new PointsmanError('FILE_MISSING', `${path} cannot be written: the folder ${folder} does not exist`);
  }
  await tryOut(folder);
}

/** The path itself, or the last of its parents that exists. */
async function nearest(path: string): Promise<{ path: string; isFolder: boolean; isFile: boolean }> {
  try {
    const found = await stat(path);
    return { path, isFolder: found.isDirectory(), isFile: found.isFile() };
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const parent = dirname(path);
    if ((code !== 'ENOENT' && code !== 'ENOTDIR') || parent === path) {
      throw new PointsmanError('FILE_IO', `${path} cannot be written: ${message}`, { cause });
    }
    return nearest(parent);
  }
}

/** Rights alone do not say it: root has all of them, also on a file system that takes no files. */
async function tryOut(folder: string): Promise<void> {
  try {
    await rmdir(await mkdtemp(join(folder, '.pointsman-')));
  } catch (cause) {
    throw new PointsmanError('FILE_IO', `nothing can be written in the folder ${folder}: ${(cause as Error).message}`, { cause });
  }
}
