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

/** Ids as the addon takes them: one text is much faster handed over than many. */
export function packIds(ids: unknown): NativeIds {
  if (!Array.isArray(ids)) throw new PointsmanError('BAD_ARGUMENT', 'ids must be an array of strings');
  const ends = new Uint32Array(ids.length);
  let end = 0;
  for (let i = 0; i < ids.length; i++) {
    const id: unknown = ids[i];
    if (typeof id !== 'string' || id.length === 0) throw new PointsmanError('BAD_ARGUMENT', `ids[${i}] must be a string that is not empty`);
    end += id.length;
    ends[i] = end;
  }
  if (end > constants.MAX_STRING_LENGTH) throw new PointsmanError('BAD_ARGUMENT', 'ids hold too much text for one call');
  const text = Buffer.from(ids.join(''));
  if (text.length === end) return [text, ends]; // a byte a character: all is ASCII
  end = 0;
  for (let i = 0; i < ids.length; i++) {
    // UTF-8 has no lone surrogates: two such ids could become one.
    if (!ids[i].isWellFormed()) throw new PointsmanError('BAD_ARGUMENT', `ids[${i}] is not well-formed Unicode`);
    end += Buffer.byteLength(ids[i]);
    ends[i] = end;
  }
  return [text, ends];
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
