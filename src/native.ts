/** The only loader of the addon and its plugin, and the only place that knows its raw shape. */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fromNative, PointsmanError } from './errors.js';
import type { TaskOptions } from './types.js';

/** What a long-running native call returns at once. */
export interface NativeTask<T> {
  promise: Promise<T>;
  /** Missing where the work is done already. */
  cancel?(): void;
}

type Listener = ((done: number, total: number) => void) | undefined;

export interface NativeFilter {
  /** How many of the experts were found. */
  readonly size: number;
}

export interface NativeStats {
  size: number;
  dimensions: number;
  blocks: number;
  bytes: number;
  deadRows: number;
  nextHandle: number;
  backend: string;
  backendReason: string;
  isa: string;
  isaReason: string;
  /** By what rows are excluded before they are looked at whole. */
  pruning: string;
  /** What searches of each batch size begin with, as measured so far: bytes, nibbles, a prefix. */
  codings: string;
  threads: number;
  searches: number;
  queries: number;
  /** What the backend took for them: wall-clock seconds, summed over searches. */
  searchSeconds: number;
  version: number;
}

/** The ids of handles; it also knows experts that were removed since, and outlives the index. */
export type NativeResolver = (handles: Uint32Array) => string[];

export interface NativeIndex {
  upsert(batch: NativeBatch, listener: Listener): NativeTask<void>;
  remove(...ids: NativeIds): NativeTask<number>;
  filter(...args: [...NativeIds, complement: boolean]): NativeFilter;
  has(id: string): boolean;
  handleOf(id: string): number | undefined;
  vector(id: string): Float32Array | undefined;
  idOf(handle: number): string;
  resolver(): NativeResolver;
  ids(start: number, count: number): { ids: string[]; next: number };
  /** For n queries a buffer of n counts (uint32), n × k scores (float32) and n × k handles (uint32). */
  search(queries: Float32Array, k: number, filter: NativeFilter | undefined): NativeTask<ArrayBuffer>;
  searchSync(queries: Float32Array, k: number, filter: NativeFilter | undefined): ArrayBuffer;
  save(path: string, listener: Listener): NativeTask<void>;
  stats(): NativeStats;
  close(): void;
}

/** Ids one after another in UTF-8, and where each ends. */
export type NativeIds = [text: Uint8Array, ends: Uint32Array];

/** Rows on their way into an index: the vectors are copied at once, the ids in portions. */
export interface NativeBatch {
  addIds(...ids: NativeIds): void;
}

export interface NativeAddon {
  Index: {
    new (dimensions: number, threads: number, backend: string): NativeIndex;
    open(path: string, threads: number, backend: string, verify: boolean, listener: Listener): NativeTask<NativeIndex>;
  };
  Batch: new (dimensions: number, vectors: Float32Array, rows: number) => NativeBatch;
  /** Codes and meanings of errors.def. */
  errorTable: Record<string, string>;
  /** Instruction sets of this build: which the processor has, which is used and why; the backends; the pool's threads. */
  doctor(): {
    isa: string;
    isaReason: string;
    isas: { name: string; supported: boolean }[];
    backends: { name: string; available: boolean; reason: string }[];
    threads: number;
  };
  /** Where the CUDA plugin is if none lies beside the addon: a package, and the path of its library, empty where it is not installed. */
  pluginPackage(name: string, path: string): void;
}

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

/** How to get an addon where none could be loaded: from any folder and with any package manager. */
export const BUILD_COMMAND = `node "${join(root, 'scripts', 'build-from-source.mjs')}"`;

let loaded: NativeAddon | undefined;

/** The addon, loaded at first use. @throws PointsmanError ADDON_NOT_FOUND */
export function native(): NativeAddon {
  if (loaded) return loaded;
  const require = createRequire(import.meta.url);
  try {
    const addon = require('node-gyp-build')(root) as NativeAddon;
    addon.pluginPackage(...pluginPackage(require));
    loaded = addon;
  } catch (cause) {
    throw new PointsmanError(
      'ADDON_NOT_FOUND',
      `No native addon for ${process.platform}-${process.arch} could be loaded from ${root}. ` +
        `Build it from source (needs CMake 3.25 and a C++20 compiler): ${BUILD_COMMAND}\n` +
        `Cause: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
  return loaded;
}

/** The npm package of the CUDA plugin for this platform, and the path of its library where it is installed. */
function pluginPackage(require: NodeJS.Require): [name: string, path: string] {
  const name = `pointsman-cuda-${process.platform}-${process.arch}`;
  try {
    return [name, require.resolve(`${name}/libpointsman_cuda.so`)];
  } catch {
    return [name, ''];
  }
}

/** Calls a synchronous native function; its errors become PointsmanErrors. */
export function call<T>(body: () => T): T {
  try {
    return body();
  } catch (error) {
    throw fromNative(error);
  }
}

/** Runs a native task to its end; an abort of `signal` stops it and rejects with ABORTED, what `onProgress` throws with that. */
export async function run<T>(
  start: (listener: Listener) => NativeTask<T>,
  stage: string,
  { signal, onProgress }: TaskOptions = {},
): Promise<T> {
  checkTask(stage, { signal, onProgress });
  let thrown: { error: unknown } | undefined;
  const tell = (done: number, total: number) => {
    if (thrown) return;
    try {
      onProgress?.({ stage, done, total });
    } catch (error) {
      thrown = { error }; // the addon has nobody to tell: the task ends with it
      abort();
    }
  };
  const task = call(() => start(onProgress && tell));
  const abort = () => task.cancel?.();
  signal?.addEventListener('abort', abort, { once: true });
  try {
    const result = await task.promise;
    if (thrown) throw thrown.error;
    return result;
  } catch (error) {
    throw thrown ? thrown.error : fromNative(error);
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

/** Work that need not hear of aborts: nobody waits for it then. @throws PointsmanError ABORTED, BAD_ARGUMENT, and what the work throws */
export async function unlessAborted<T>(stage: string, options: TaskOptions, work: () => T | Promise<T>): Promise<T> {
  checkTask(stage, options);
  const { signal } = options;
  if (!signal) return work();
  let abort = () => {};
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(new PointsmanError('ABORTED', `${stage} was aborted`, { cause: signal.reason }));
    signal.addEventListener('abort', abort, { once: true });
  });
  try {
    return await Promise.race([aborted, work()]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/** @throws PointsmanError ABORTED, BAD_ARGUMENT */
function checkTask(stage: string, { signal, onProgress }: TaskOptions): void {
  if (signal !== undefined && typeof signal?.addEventListener !== 'function')
    throw new PointsmanError('BAD_ARGUMENT', `signal must be an AbortSignal, not ${String(signal)}`);
  if (onProgress !== undefined && typeof onProgress !== 'function')
    throw new PointsmanError('BAD_ARGUMENT', `onProgress must be a function, not ${String(onProgress)}`);
  if (signal?.aborted) throw new PointsmanError('ABORTED', `${stage} was aborted`, { cause: signal.reason });
}
