/**
 * Collaborative filtering from histories alone: vectors of users and of experts, so that ⟨user, expert⟩ is high where a
 * user would be content. Alternating least squares for implicit feedback; native/train/implicit.hpp has model and sources.
 */
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { ExpertIndex } from '../engine/index.js';
import { checkOptions, PointsmanError } from '../errors.js';
import { native, run } from '../native.js';
import type { TaskOptions } from '../types.js';
import { dimensionsOf, type FactoriseOptions, type FactorMember, membersOf, OPTIONS } from './factor-models.js';
import { type FactorsAddon, factorsAddon, type NativeInteractions } from './factors-addon.js';
import { openFactors, saveFactors } from './factors-files.js';
import { checkFile, checkPath } from './folder.js';
import { type Preference, type PreferenceTable, preferenceTable, readInteractionFile } from './preferences.js';

/** What a user was content with: experts, perhaps with weights. */
export type History = readonly (string | { expert: string; weight?: number | undefined })[];

/**
 * Learns vectors of users and experts from preferences: in memory, in a table, or in the interaction file at a path, which
 * is read in pieces and may exceed memory (the vectors may not).
 * @throws PointsmanError BAD_DATA, BAD_ARGUMENT, NOT_ENOUGH_DATA, NOT_FINITE, OUT_OF_MEMORY, ABORTED; of files
 * FILE_MISSING, FILE_IO, FILE_CORRUPT, FILE_VERSION
 */
export async function factorise(
  preferences: Iterable<Preference> | PreferenceTable | string,
  options: FactoriseOptions = {},
): Promise<Factorisation> {
  checkOptions(options, OPTIONS, 'factorise');
  const { signal, onProgress, checkpoint, resume = false, threads = native().doctor().threads } = options;
  const members = membersOf(options);
  const checkpoints = checkpoint === undefined ? [] : checkpointsOf(checkpoint, members.length);
  for (const file of checkpoints) await checkFile(file);
  if (checkpoint === undefined && resume) throw new PointsmanError('BAD_ARGUMENT', 'resume needs the path of a checkpoint');
  const { users, experts, source } = await open(preferences, { signal, onProgress });
  if (users.length === 0 || experts.length === 0) throw new PointsmanError('NOT_ENOUGH_DATA', 'there is no preference to learn from');
  // Or this run, stopped and resumed, would go on from an earlier one's later members.
  for (const file of resume ? [] : checkpoints.slice(1)) await rm(file, { force: true });
  const fits: Fit[] = [];
  for (const [m, { weight, ...settings }] of members.entries()) {
    const file = checkpoints[m];
    const goOn = resume && (m === 0 || existsSync(file as string)); // a run may have stopped before this member's first sweep
    const stage = members.length === 1 ? 'factorise' : `factorise ${m + 1} of ${members.length}`;
    const start = (listener: Parameters<FactorsAddon['factorise']>[5]) =>
      factorsAddon().factorise(source, settings, file, goOn, threads, listener);
    fits.push(await run(start, stage, { signal, onProgress }));
  }
  const arrays = {
    members,
    users,
    experts,
    userVectors: usersOf(
      fits.map((fit) => fit.users),
      members,
    ),
    expertVectors: sideBySide(
      fits.map((fit) => fit.items),
      members.map(({ factors }) => factors),
    ),
    grams: fits.map(({ gram }) => gram),
    interactions: (fits[0] as Fit).interactions,
  };
  return new Factorisation(
    arrays,
    fits.reduce((sum, { done }, m) => sum + (members[m] as FactorMember).sweeps - done, 0),
  );
}

function checkpointsOf(checkpoint: string, members: number): string[] {
  checkPath(checkpoint, 'checkpoint');
  return Array.from({ length: members }, (_, m) => (m > 0 ? `${checkpoint}.${m}` : checkpoint));
}

type Fit = Awaited<ReturnType<FactorsAddon['factorise']>['promise']>;

/** Tables of so many columns as one: row i has the parts' rows i one after another. */
function sideBySide(parts: readonly Float32Array[], widths: readonly number[]): Float32Array {
  const [first] = parts as readonly [Float32Array];
  if (parts.length === 1) return first;
  const rows = first.length / (widths[0] as number);
  const all = widths.reduce((sum, width) => sum + width, 0);
  const out = new Float32Array(rows * all);
  let at = 0;
  for (const [m, part] of parts.entries()) {
    const width = widths[m] as number;
    for (let row = 0; row < rows; row++) out.set(part.subarray(row * width, (row + 1) * width), row * all + at);
    at += width;
  }
  return out;
}

/** Users' vectors carry the shares by which products with experts' vectors are means. */
function usersOf(parts: readonly Float32Array[], members: readonly FactorMember[]): Float32Array {
  const parted = members.map(({ weight, unobserved }) => weight * (1 + unobserved));
  const sum = parted.reduce((total, part) => total + part, 0);
  const shared = members.length === 1 ? parts : parts.map((part, m) => part.map((value) => (value * (parted[m] as number)) / sum));
  return sideBySide(
    shared,
    members.map(({ factors }) => factors),
  );
}

async function open(
  preferences: Iterable<Preference> | PreferenceTable | string,
  options: TaskOptions,
): Promise<{ users: readonly string[]; experts: readonly string[]; source: NativeInteractions }> {
  if (typeof preferences === 'string') {
    const { userNames, expertNames } = await readInteractionFile(preferences, options);
    return { users: userNames, experts: expertNames, source: { path: preferences } };
  }
  const isTable = preferences !== null && typeof preferences === 'object' && 'experts' in preferences;
  const { users, experts, user, expert, weight } = isTable ? preferences : preferenceTable(preferences);
  if (isTable) {
    checkNames(users, 'users');
    checkNames(experts, 'experts');
  }
  const source = { users: users.length, items: experts.length, user, item: expert, ...(weight && { weight }) };
  return { users, experts, source };
}

function checkNames(names: unknown, what: string): void {
  const distinct = new Set(Array.isArray(names) ? Array.from(names).filter((name) => typeof name === 'string' && name !== '') : []);
  if (!Array.isArray(names) || distinct.size < names.length)
    throw new PointsmanError('BAD_ARGUMENT', `${what} of a table must be a list of distinct ids, strings that are not empty`);
}

/** What a factorisation is made of; row i of `userVectors` belongs to `users[i]`. */
export interface FactorArrays {
  readonly members: readonly FactorMember[];
  readonly users: readonly string[];
  readonly experts: readonly string[];
  /** users × dimensions, those of all members one after another, as are the experts' */
  readonly userVectors: Float32Array;
  /** experts × dimensions; zero where an expert has no interaction */
  readonly expertVectors: Float32Array;
  /** of each member factors × factors: the sum of y yᵀ over the experts */
  readonly grams: readonly Float32Array[];
  readonly interactions: number;
}

export class Factorisation {
  readonly arrays: FactorArrays;
  /** Sweeps of this run: fewer than asked for where it went on from a checkpoint. */
  readonly sweeps: number;
  readonly #numbers: { [side in 'users' | 'experts']?: Map<string, number> } = {};

  /** @internal */
  constructor(arrays: FactorArrays, sweeps = 0) {
    this.arrays = arrays;
    this.sweeps = sweeps;
  }

  /** The dimensions of the vectors: of all members. */
  get factors(): number {
    return dimensionsOf(this.arrays.members);
  }

  /** The vector of a user, or undefined for one who was not there: `foldIn` their history. */
  userVector(user: string): Float32Array | undefined {
    return this.#row('users', user);
  }

  expertVector(expert: string): Float32Array | undefined {
    return this.#row('experts', expert);
  }

  /**
   * Vectors of users by their histories, in closed form: what a half sweep would give them. Experts that are not known are
   * passed over; without any the vector is zero.
   * @returns histories × factors
   * @throws PointsmanError BAD_ARGUMENT, NOT_FINITE, ABORTED
   */
  async foldIn(histories: readonly History[], options: TaskOptions & { threads?: number } = {}): Promise<Float32Array> {
    const { signal, threads = native().doctor().threads } = checkOptions(options, undefined, 'foldIn');
    if (!Array.isArray(histories) || !Array.from(histories).every(Array.isArray))
      throw new PointsmanError('BAD_ARGUMENT', 'foldIn takes a list of histories, each a list of experts');
    const rows: number[] = [];
    const weights: number[] = [];
    const starts = [0];
    for (const history of histories as readonly History[]) {
      for (const item of history) {
        const { expert, weight = 1 } = typeof item === 'string' ? { expert: item } : (item ?? {});
        if (typeof expert !== 'string' || typeof weight !== 'number' || !(weight >= 0 && weight <= 1e30)) {
          throw new PointsmanError('BAD_ARGUMENT', 'a history lists experts by id, or { expert, weight } with a weight from 0 to 1e30');
        }
        const row = this.#numbersOf('experts').get(expert);
        if (row === undefined) continue;
        rows.push(row);
        weights.push(weight);
      }
      starts.push(rows.length);
    }
    const { expertVectors, grams, experts, members } = this.arrays;
    const parts: Float32Array[] = [];
    let first = 0; // of the member's dimensions
    for (const [m, { weight, ...settings }] of members.entries()) {
      const k = settings.factors;
      const vectors = new Float32Array(rows.length * k);
      for (const [n, row] of rows.entries()) {
        const at = row * this.factors + first;
        vectors.set(expertVectors.subarray(at, at + k), n * k);
      }
      const own = grams[m] as Float32Array;
      const start = () =>
        factorsAddon().foldIn(vectors, Uint32Array.from(starts), Float32Array.from(weights), own, experts.length, settings, threads);
      parts.push(await run(start, 'fold in', { signal }));
      first += k;
    }
    return usersOf(parts, members);
  }

  /** The experts, to be searched with vectors of users. A new index at each call. */
  async index(options: TaskOptions & { threads?: number | undefined } = {}): Promise<ExpertIndex> {
    checkOptions(options, undefined, 'index');
    const { threads, ...tasks } = options;
    const index = new ExpertIndex({ dimensions: this.factors, ...(threads !== undefined && { threads }) });
    await index.upsert(this.arrays.experts, this.arrays.expertVectors, tasks);
    return index;
  }

  /** Writes a folder (factors-files.ts); replaces an earlier one only when all is written. @throws PointsmanError FILE_IO */
  async save(folder: string, options: TaskOptions = {}): Promise<void> {
    checkOptions(options, undefined, 'save');
    await saveFactors(folder, this.arrays, options);
  }

  /** Opens what `save` wrote. @throws PointsmanError FILE_MISSING, FILE_CORRUPT, FILE_VERSION, FILE_IO */
  static async open(folder: string, options: TaskOptions = {}): Promise<Factorisation> {
    checkOptions(options, undefined, 'open');
    return new Factorisation(await openFactors(folder, options));
  }

  #row(side: 'users' | 'experts', id: string): Float32Array | undefined {
    const row = this.#numbersOf(side).get(id);
    const vectors = side === 'users' ? this.arrays.userVectors : this.arrays.expertVectors;
    return row === undefined ? undefined : vectors.slice(row * this.factors, (row + 1) * this.factors);
  }

  #numbersOf(side: 'users' | 'experts'): Map<string, number> {
    this.#numbers[side] ??= new Map(this.arrays[side].map((id, i) => [id, i]));
    return this.#numbers[side];
  }
}
