/**
 * Collaborative filtering from histories alone: vectors of users and of experts, so that ⟨user, expert⟩ is high where a
 * user would be content. Alternating least squares for implicit feedback; native/train/implicit.hpp has model and sources.
 */
import { existsSync } from 'node:fs';
import { ExpertIndex } from '../engine/index.js';
import { checkOptions, PointsmanError } from '../errors.js';
import { native, run } from '../native.js';
import type { TaskOptions } from '../types.js';
import { type FactorSettings, type FactorsAddon, factorsAddon, type NativeInteractions } from './factors-addon.js';
import { openFactors, saveFactors } from './factors-files.js';
import { checkPath } from './folder.js';
import { type Preference, type PreferenceTable, preferenceTable, readInteractionFile } from './preferences.js';

export interface FactoriseOptions extends TaskOptions {
  /** k, the dimensions of the vectors: 1 … 1024. Default 64. */
  factors?: number | undefined;
  /** α: how much a pair without an interaction counts as a 0, beside 1 for an interaction: 0 … 1e6. Default 0.1. */
  unobserved?: number | undefined;
  /** λ: 1e-9 … 1e9. Default 0.01. */
  penalty?: number | undefined;
  /** ν: the penalty grows as (interactions + α·others)^ν: 0 (the same for all) … 2. Default 1. */
  exponent?: number | undefined;
  /** Of the first vectors' length: 1e-6 … 1000. Default 0.1. */
  deviation?: number | undefined;
  /**
   * How many factorisations, each from other first vectors, are put side by side: vectors of k·ensemble dimensions whose
   * product is the mean of the members' scores. It costs as much time and memory more. 1 … 16. Default 1.
   */
  ensemble?: number | undefined;
  /** Default 8. */
  sweeps?: number | undefined;
  /** The same seed gives the same bits, whatever threads and instruction set. Default 0. */
  seed?: number | undefined;
  /** Default: all of the pool. */
  threads?: number | undefined;
  /** A file that is replaced after every sweep, by which a run that was stopped can go on; of an ensemble's later members, beside it. */
  checkpoint?: string | undefined;
  /** Go on from the checkpoint: it must be of the same interactions and settings; `sweeps` may be higher. */
  resume?: boolean | undefined;
}

const DEFAULTS: FactorSettings = {
  factors: 64,
  unobserved: 0.1,
  penalty: 0.01,
  exponent: 1,
  deviation: 0.1,
  ensemble: 1,
  sweeps: 8,
  seed: 0,
};
const MOST_MEMBERS = 16;
/** Of the members' seeds: far enough for nobody's own seeds to meet them. */
const SEED_STEP = 2 ** 40;
const OPTIONS = [...Object.keys(DEFAULTS), 'threads', 'checkpoint', 'resume', 'signal', 'onProgress'];

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
  const settings = settingsOf(options);
  if (checkpoint !== undefined) checkPath(checkpoint, 'checkpoint');
  else if (resume) throw new PointsmanError('BAD_ARGUMENT', 'resume needs the path of a checkpoint');
  const { users, experts, source } = await open(preferences, { signal, onProgress });
  if (users.length === 0 || experts.length === 0) throw new PointsmanError('NOT_ENOUGH_DATA', 'there is no preference to learn from');
  const members: Member[] = [];
  for (let m = 0; m < settings.ensemble; m++) {
    const own = { ...settings, seed: settings.seed + m * SEED_STEP };
    const file = checkpoint !== undefined && m > 0 ? `${checkpoint}.${m}` : checkpoint;
    const goOn = resume && (m === 0 || existsSync(file as string)); // a run may have stopped before this member's first sweep
    const stage = settings.ensemble === 1 ? 'factorise' : `factorise ${m + 1} of ${settings.ensemble}`;
    const start = (listener: Parameters<FactorsAddon['factorise']>[5]) =>
      factorsAddon().factorise(source, own, file, goOn, threads, listener);
    members.push(await run(start, stage, { signal, onProgress }));
  }
  const { interactions } = members[0] as Member;
  const arrays = {
    settings,
    users,
    experts,
    userVectors: usersOf(
      members.map((member) => member.users),
      settings.factors,
    ),
    expertVectors: sideBySide(
      members.map((member) => member.items),
      settings.factors,
    ),
    gram: sideBySide(
      members.map((member) => member.gram),
      settings.factors ** 2,
    ),
    interactions,
  };
  return new Factorisation(
    arrays,
    members.reduce((sum, { done }) => sum + settings.sweeps - done, 0),
  );
}

type Member = Awaited<ReturnType<FactorsAddon['factorise']>['promise']>;

/** Tables of `width` columns as one: row i has the parts' rows i one after another. */
function sideBySide(parts: readonly Float32Array[], width: number): Float32Array {
  const [first] = parts as readonly [Float32Array];
  if (parts.length === 1) return first;
  const out = new Float32Array(first.length * parts.length);
  for (const [m, part] of parts.entries()) {
    for (let row = 0; row * width < part.length; row++)
      out.set(part.subarray(row * width, (row + 1) * width), (row * parts.length + m) * width);
  }
  return out;
}

/** Users' vectors carry the 1 / members by which products with experts' vectors are means. */
function usersOf(parts: readonly Float32Array[], width: number): Float32Array {
  const out = sideBySide(parts, width);
  if (parts.length > 1) for (let i = 0; i < out.length; i++) out[i] = (out[i] as number) / parts.length;
  return out;
}

function settingsOf(options: FactoriseOptions): FactorSettings {
  const settings = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS) as (keyof FactorSettings)[]) {
    const value = options[name] ?? DEFAULTS[name];
    if (typeof value !== 'number' || !Number.isFinite(value))
      throw new PointsmanError('BAD_ARGUMENT', `${name} must be a finite number, not ${String(value)}`);
    settings[name] = value as never;
  }
  const { ensemble, seed } = settings;
  if (!Number.isInteger(ensemble) || ensemble < 1 || ensemble > MOST_MEMBERS)
    throw new PointsmanError('BAD_ARGUMENT', `ensemble must be an integer from 1 to ${MOST_MEMBERS}, not ${ensemble}`);
  if (ensemble > 1 && seed >= SEED_STEP)
    throw new PointsmanError('BAD_ARGUMENT', `the seed of an ensemble must be below 2^40, not ${seed}`);
  return settings;
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
  const source = { users: users.length, items: experts.length, user, item: expert, ...(weight && { weight }) };
  return { users, experts, source };
}

/** What a factorisation is made of; row i of `userVectors` belongs to `users[i]`. */
export interface FactorArrays {
  readonly settings: FactorSettings;
  readonly users: readonly string[];
  readonly experts: readonly string[];
  /** users × (factors·ensemble), as are the experts' */
  readonly userVectors: Float32Array;
  /** experts × (factors·ensemble); zero where an expert has no interaction */
  readonly expertVectors: Float32Array;
  /** ensemble × factors × factors: of each member the sum of y yᵀ over the experts */
  readonly gram: Float32Array;
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

  /** The dimensions of the vectors: factors·ensemble of the settings. */
  get factors(): number {
    return this.arrays.settings.factors * this.arrays.settings.ensemble;
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
  async foldIn(
    histories: readonly History[],
    { signal, threads = native().doctor().threads }: TaskOptions & { threads?: number } = {},
  ): Promise<Float32Array> {
    if (!Array.isArray(histories) || !histories.every(Array.isArray))
      throw new PointsmanError('BAD_ARGUMENT', 'foldIn takes a list of histories, each a list of experts');
    const rows: number[] = [];
    const weights: number[] = [];
    const starts = [0];
    for (const history of histories as readonly History[]) {
      for (const item of history) {
        const { expert, weight = 1 } = typeof item === 'string' ? { expert: item } : (item ?? {});
        if (typeof expert !== 'string' || !(weight >= 0 && weight <= 1e30)) {
          throw new PointsmanError('BAD_ARGUMENT', 'a history lists experts by id, or { expert, weight } with a weight from 0 to 1e30');
        }
        const row = this.#numbersOf('experts').get(expert);
        if (row === undefined) continue;
        rows.push(row);
        weights.push(weight);
      }
      starts.push(rows.length);
    }
    const { expertVectors, gram, experts, settings } = this.arrays;
    const [k, width] = [settings.factors, this.factors];
    const parts: Float32Array[] = [];
    for (let m = 0; m < settings.ensemble; m++) {
      const vectors = new Float32Array(rows.length * k);
      for (const [n, row] of rows.entries()) {
        const at = row * width + m * k;
        vectors.set(expertVectors.subarray(at, at + k), n * k);
      }
      const own = gram.subarray(m * k * k, (m + 1) * k * k);
      const start = () =>
        factorsAddon().foldIn(vectors, Uint32Array.from(starts), Float32Array.from(weights), own, experts.length, settings, threads);
      parts.push(await run(start, 'fold in', { signal }));
    }
    return usersOf(parts, k);
  }

  /** The experts, to be searched with vectors of users. A new index at each call. */
  async index(options: TaskOptions & { threads?: number | undefined } = {}): Promise<ExpertIndex> {
    const { threads, ...tasks } = options;
    const index = new ExpertIndex({ dimensions: this.factors, ...(threads !== undefined && { threads }) });
    await index.upsert(this.arrays.experts, this.arrays.expertVectors, tasks);
    return index;
  }

  /** Writes a folder (factors-files.ts); replaces an earlier one only when all is written. @throws PointsmanError FILE_IO */
  async save(folder: string, options: TaskOptions = {}): Promise<void> {
    await saveFactors(folder, this.arrays, options);
  }

  /** Opens what `save` wrote. @throws PointsmanError FILE_MISSING, FILE_CORRUPT, FILE_VERSION, FILE_IO */
  static async open(folder: string, options: TaskOptions = {}): Promise<Factorisation> {
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
