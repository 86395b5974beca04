/** Validation of what callers pass to the engine: meaning here, memory safety again in the addon. */
import { constants } from 'node:buffer';
import { PointsmanError } from '../errors.js';
import type { NativeIds } from '../native.js';

export const MAX_K = 4096;
export const MAX_DIMENSIONS = 4096;

export type BackendName = 'auto' | 'cpu' | 'cuda';

export interface IndexOptions {
  /** Length of every vector, 1–4096. */
  dimensions: number;
  /** This index's share of the thread pool; default: all of it. */
  threads?: number | undefined;
  /** Where searches run. `cuda` insists and fails with BACKEND_UNAVAILABLE; `auto` falls back to the CPU. */
  backend?: BackendName | undefined;
}

export function checkDimensions(dimensions: unknown): number {
  if (!Number.isInteger(dimensions) || (dimensions as number) < 1 || (dimensions as number) > MAX_DIMENSIONS) {
    throw new PointsmanError('BAD_DIMENSIONS', `dimensions must be an integer from 1 to ${MAX_DIMENSIONS}, not ${String(dimensions)}`);
  }
  return dimensions as number;
}

export function checkThreads(threads: unknown): number {
  if (threads === undefined) return 0;
  if (!Number.isInteger(threads) || (threads as number) < 1 || (threads as number) > 1024) {
    throw new PointsmanError('BAD_ARGUMENT', `threads must be an integer from 1 to 1024, not ${String(threads)}`);
  }
  return threads as number;
}

export function checkBackend(backend: unknown): BackendName {
  if (backend === undefined) return 'auto';
  if (backend !== 'auto' && backend !== 'cpu' && backend !== 'cuda') {
    throw new PointsmanError('BAD_ARGUMENT', `backend must be 'auto', 'cpu' or 'cuda', not ${String(backend)}`);
  }
  return backend;
}

export function checkK(k: unknown): number {
  if (!Number.isInteger(k) || (k as number) < 1 || (k as number) > MAX_K) {
    throw new PointsmanError('BAD_K', `k must be an integer from 1 to ${MAX_K}, not ${String(k)}`);
  }
  return k as number;
}

/**
 * Ids `start` … `end` as the addon takes them: one text is much faster handed over than many.
 * @throws PointsmanError BAD_ARGUMENT
 */
export function packIds(ids: unknown, start = 0, end = Number.POSITIVE_INFINITY): NativeIds {
  const own = copyIds(ids, start, end);
  const ends = new Uint32Array(own.length);
  let length = 0;
  for (const [i, id] of own.entries()) {
    if (typeof id !== 'string' || id.length === 0)
      throw new PointsmanError('BAD_ARGUMENT', `ids[${start + i}] must be a string that is not empty`);
    length += id.length;
    ends[i] = length;
  }
  if (length > constants.MAX_STRING_LENGTH) throw new PointsmanError('BAD_ARGUMENT', 'ids hold too much text for one call');
  const text = Buffer.from(own.join(''));
  if (text.length === length) return [text, ends]; // a byte a character: all is ASCII
  length = 0;
  for (const [i, id] of (own as string[]).entries()) {
    checkWellFormed(id, `ids[${start + i}]`);
    length += Buffer.byteLength(id);
    ends[i] = length;
  }
  return [text, ends];
}

/** Of what is or pretends to be an array of ids, each read once. */
export function copyIds(ids: unknown, start = 0, end = Number.POSITIVE_INFINITY): unknown[] {
  let own: unknown;
  try {
    if (Array.isArray(ids)) own = Array.prototype.slice.call(ids, start, end);
  } catch (cause) {
    throw new PointsmanError('BAD_ARGUMENT', `ids cannot be read: ${(cause as Error)?.message}`, { cause });
  }
  if (!Array.isArray(own)) throw new PointsmanError('BAD_ARGUMENT', 'ids must be an array of strings');
  return own;
}

export function checkId(id: unknown): string {
  if (typeof id !== 'string') throw new PointsmanError('BAD_ARGUMENT', 'id must be a string');
  checkWellFormed(id, 'id');
  return id;
}

/** UTF-8 has no lone surrogates: two such ids could become one. */
function checkWellFormed(id: string, name: string): void {
  if (!id.isWellFormed()) throw new PointsmanError('BAD_ARGUMENT', `${name} is not well-formed Unicode`);
}

/** Checks a row-major matrix of `dimensions` columns and returns its rows. */
export function checkRows(vectors: unknown, dimensions: number, name: string): number {
  if (!(vectors instanceof Float32Array)) throw new PointsmanError('BAD_ARGUMENT', `${name} must be a Float32Array`);
  if (vectors.buffer instanceof ArrayBuffer && 'detached' in vectors.buffer && vectors.buffer.detached) {
    throw new PointsmanError('DETACHED_BUFFER', `the buffer of ${name} was transferred away`);
  }
  if (vectors.length % dimensions !== 0) {
    throw new PointsmanError('WRONG_SHAPE', `${name} has ${vectors.length} elements, not a multiple of ${dimensions} dimensions`);
  }
  return vectors.length / dimensions;
}
