/** The engine: ExpertIndex over the native addon. */
import { setImmediate } from 'node:timers/promises';
import { checkOptions, PointsmanError } from '../errors.js';
import { call, type NativeFilter, type NativeIndex, type NativeResolver, type NativeStats, native, run } from '../native.js';
import type { TaskOptions } from '../types.js';
import { checkBackend, checkDimensions, checkId, checkK, checkRows, checkThreads, copyIds, type IndexOptions, packIds } from './options.js';

export type { BackendName, IndexOptions } from './options.js';
export { MAX_DIMENSIONS, MAX_K } from './options.js';

/** A reusable set of experts to search among, made by `index.filter`. Experts added later are not in it. */
export class Filter {
  /** @internal */
  constructor(
    /** @internal */ readonly owner: NativeIndex,
    /** @internal */ readonly raw: NativeFilter,
  ) {}

  /** How many experts it holds. */
  get size(): number {
    return this.raw.size;
  }
}

export interface SearchOptions {
  /** How many experts for each query, 1–4096. */
  k: number;
  filter?: Filter | undefined;
}

/** The best experts of each query, best first; equal scores by rising handle. The arrays are views of one buffer. */
export class SearchResult {
  /** Queries. */
  readonly count: number;
  /** As asked. */
  readonly k: number;
  /** Hits of each query: fewer than k when fewer experts are eligible. */
  readonly counts: Uint32Array;
  /** count × k, row-major; −Infinity past `counts[i]`. */
  readonly scores: Float32Array;
  /** count × k, row-major; 0 past `counts[i]`. */
  readonly handles: Uint32Array;
  readonly #resolve: NativeResolver;

  /** @internal */
  constructor(resolve: NativeResolver, k: number, raw: ArrayBuffer) {
    this.#resolve = resolve;
    const count = raw.byteLength / (4 + 8 * k);
    this.count = count;
    this.k = k;
    this.counts = new Uint32Array(raw, 0, count);
    this.scores = new Float32Array(raw, 4 * count, count * k);
    this.handles = new Uint32Array(raw, 4 * count * (1 + k), count * k);
  }

  /** Ids of query i, best first; they resolve also when an expert was removed since. */
  ids(i: number): string[] {
    const hits = this.counts[i];
    if (hits === undefined) throw new PointsmanError('BAD_ARGUMENT', `there is no query ${i} among ${this.count}`);
    return call(() => this.#resolve(this.handles.subarray(i * this.k, i * this.k + hits)));
  }
}

/** Ids cross into the addon in portions, so that a million of them never hold the event loop. */
const ID_PORTION = 16_384;

/**
 * Exact top-k inner product search over experts' vectors.
 *
 * Scores are float64 sums of products of the stored float32 values in one fixed order, rounded to float32:
 * ids and score bits are the same on every instruction set, thread count and batch size.
 * Searches run on the engine's own threads and see one consistent version, whatever is written meanwhile.
 */
export class ExpertIndex {
  readonly dimensions: number;
  readonly #native: NativeIndex;
  readonly #resolve: NativeResolver;

  /** @throws PointsmanError BAD_DIMENSIONS, BAD_ARGUMENT, BACKEND_UNAVAILABLE, ADDON_NOT_FOUND */
  constructor(options: IndexOptions);
  /** @internal */
  constructor(options: IndexOptions, existing?: NativeIndex);
  constructor(options: IndexOptions, existing?: NativeIndex) {
    this.dimensions = checkDimensions(options?.dimensions);
    const threads = checkThreads(options.threads);
    const backend = checkBackend(options.backend);
    this.#native = existing ?? call(() => new (native().Index)(this.dimensions, threads, backend));
    this.#resolve = call(() => this.#native.resolver());
  }

  /**
   * Opens a file that `save` wrote. Its checksums are verified here unless `verify` is `'lazy'`, which checks the
   * header and the ids and leaves the vectors, read by mmap as they are needed, unverified.
   * @throws PointsmanError FILE_IO, FILE_CORRUPT, FILE_VERSION
   */
  static async open(
    path: string,
    options: Omit<IndexOptions, 'dimensions'> & TaskOptions & { verify?: 'full' | 'lazy' } = {},
  ): Promise<ExpertIndex> {
    checkPath(path);
    const { threads, backend, verify = 'full', signal, onProgress } = checkOptions(options, undefined, 'open');
    if (verify !== 'full' && verify !== 'lazy')
      throw new PointsmanError('BAD_ARGUMENT', `verify must be 'full' or 'lazy', not ${String(verify)}`);
    const checkedThreads = checkThreads(threads);
    const checkedBackend = checkBackend(backend);
    const raw = await run((listener) => native().Index.open(path, checkedThreads, checkedBackend, verify === 'full', listener), 'open', {
      signal,
      onProgress,
    });
    return new ExpertIndex({ dimensions: call(() => raw.stats()).dimensions }, raw);
  }

  /** Experts in the index. */
  get size(): number {
    return this.#stats().size;
  }

  /**
   * Adds experts, or gives present ones a new vector (they keep their handle). All or nothing.
   * @param vectors row-major, `ids.length × dimensions`; copied at the call.
   * @throws PointsmanError WRONG_SHAPE, DUPLICATE_ID, NOT_FINITE, NORM_TOO_LARGE, BAD_ARGUMENT, DETACHED_BUFFER, CLOSED, ABORTED, OUT_OF_MEMORY, INDEX_FULL
   */
  async upsert(ids: readonly string[], vectors: Float32Array, options: TaskOptions = {}): Promise<void> {
    const { signal, onProgress } = checkOptions(options, undefined, 'upsert');
    const rows = checkRows(vectors, this.dimensions, 'vectors');
    const own = copyIds(ids);
    if (rows !== own.length) {
      throw new PointsmanError(
        'WRONG_SHAPE',
        `${own.length} ids need ${own.length} × ${this.dimensions} numbers, vectors has ${vectors.length}`,
      );
    }
    this.#stats(); // CLOSED before the copy
    const portion = (start: number) => {
      if (signal?.aborted) throw new PointsmanError('ABORTED', 'upsert was aborted', { cause: signal.reason });
      return packIds(own, start, start + ID_PORTION);
    };
    const first = portion(0); // what is refused now leaves no copy behind
    const batch = call(() => new (native().Batch)(this.dimensions, vectors, rows));
    call(() => batch.addIds(...first));
    for (let start = ID_PORTION; start < own.length; start += ID_PORTION) {
      await setImmediate();
      const next = portion(start);
      call(() => batch.addIds(...next));
    }
    await run((listener) => this.#native.upsert(batch, listener), 'upsert', { signal, onProgress });
  }

  /** Removes experts; ids that are not there are passed over. @returns how many were there */
  async remove(ids: readonly string[]): Promise<number> {
    return run(() => this.#native.remove(...packIds(ids)), 'remove');
  }

  /**
   * A reusable set of experts: those named, or with `complement` all others that are in the index now.
   * Ids that are not in the index are passed over.
   */
  filter(ids: readonly string[], options: { complement?: boolean } = {}): Filter {
    const { complement = false } = checkOptions(options, undefined, 'filter');
    if (typeof complement !== 'boolean')
      throw new PointsmanError('BAD_ARGUMENT', `complement must be true or false, not ${String(complement)}`);
    return new Filter(
      this.#native,
      call(() => this.#native.filter(...packIds(ids), complement)),
    );
  }

  has(id: string): boolean {
    return call(() => this.#native.has(checkId(id)));
  }

  /** A copy of the expert's vector. */
  vector(id: string): Float32Array | undefined {
    return call(() => this.#native.vector(checkId(id)));
  }

  /** @throws PointsmanError UNKNOWN_HANDLE */
  idOf(handle: number): string {
    return call(() => this.#native.idOf(handle));
  }

  handleOf(id: string): number | undefined {
    return call(() => this.#native.handleOf(checkId(id)));
  }

  /** All ids, by rising handle. */
  *ids(): Generator<string, void, undefined> {
    for (let start = 0; ; ) {
      const page = call(() => this.#native.ids(start, ID_PORTION));
      yield* page.ids;
      if (page.ids.length === 0) return;
      start = page.next;
    }
  }

  /**
   * The best k experts of each query, on the engine's threads; the event loop stays free.
   * @param queries row-major, any number of rows × dimensions; copied at the call.
   * @throws PointsmanError WRONG_SHAPE, BAD_K, NOT_FINITE, NORM_TOO_LARGE, BAD_ARGUMENT, DETACHED_BUFFER, CLOSED, ABORTED, OUT_OF_MEMORY
   */
  async search(queries: Float32Array, options: SearchOptions & { signal?: AbortSignal | undefined }): Promise<SearchResult> {
    const { k, filter, signal } = options ?? {}; // from JavaScript they may be missing: checkK says so
    this.#checkSearch(queries, k, filter);
    const raw = await run(() => this.#native.search(queries, k, filter?.raw), 'search', { signal });
    return new SearchResult(this.#resolve, k, raw);
  }

  /** The same on the calling thread alone: for small indexes, where a thread hop costs more than the search. */
  searchSync(queries: Float32Array, options: SearchOptions): SearchResult {
    const { k, filter } = options ?? {};
    this.#checkSearch(queries, k, filter);
    return new SearchResult(
      this.#resolve,
      k,
      call(() => this.#native.searchSync(queries, k, filter?.raw)),
    );
  }

  /** Writes a snapshot: to a temporary file beside `path`, synced, then renamed over it. @throws PointsmanError FILE_IO, ABORTED */
  async save(path: string, options: TaskOptions = {}): Promise<void> {
    checkPath(path);
    checkOptions(options, undefined, 'save');
    await run((listener) => this.#native.save(path, listener), 'save', options);
  }

  /** Size, bytes, backend and instruction set with the reason for each, threads, counters. */
  stats(): NativeStats {
    return this.#stats();
  }

  /** Refuses new calls from now on; running ones finish. Closing twice is no error. */
  close(): void {
    this.#native.close();
  }

  #stats(): NativeStats {
    return call(() => this.#native.stats());
  }

  #checkSearch(queries: Float32Array, k: number, filter: Filter | undefined): void {
    checkRows(queries, this.dimensions, 'queries');
    checkK(k);
    if (filter !== undefined && (!(filter instanceof Filter) || filter.owner !== this.#native)) {
      throw new PointsmanError('BAD_ARGUMENT', 'filter must come from this index');
    }
  }
}

function checkPath(path: unknown): asserts path is string {
  if (typeof path !== 'string' || path.length === 0) throw new PointsmanError('BAD_ARGUMENT', 'path must be a string that is not empty');
}
