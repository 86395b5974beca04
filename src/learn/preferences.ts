/**
 * Preferences: which user was content with which expert. Read from a log, from a text of numbers or from memory; kept in
 * columns, or sorted into an interaction file (native/train/interactions.hpp has the layout) where they exceed memory.
 */
import { randomUUID } from 'node:crypto';
import { open, realpath, rm } from 'node:fs/promises';
import { checkOptions, PointsmanError } from '../errors.js';
import { run } from '../native.js';
import type { Interaction, TaskOptions } from '../types.js';
import { factorsAddon, type InteractionCounts } from './factors-addon.js';
import { checkFile, checkPath } from './folder.js';
import { fileError, logLines, Numbering } from './interactions.js';

/** A user was content with an expert. */
export interface Preference {
  user: string;
  expert: string;
  /** How sure that is, from 0 to 1e30: the weight of its squared error. Default 1. Preferences given twice add up. */
  weight?: number | undefined;
}

/** Preferences by number: record n says that user `user[n]` was content with expert `expert[n]`. */
export interface PreferenceTable {
  readonly users: readonly string[];
  readonly experts: readonly string[];
  readonly user: Uint32Array;
  readonly expert: Uint32Array;
  readonly weight?: Float32Array | undefined;
}

/** The bytes that hold what is being sorted, unless told otherwise. */
const MEMORY = 2 ** 30;
const LARGEST = 1e30;

/**
 * What an outcome says of a preference: 1, or nothing where the message was retried, had fewer than 3 stars or a score
 * below 0.5. An outcome that is not known speaks for it: somebody asked, and did not complain.
 */
export function contentment({ retry, rating, score }: Pick<Interaction, 'retry' | 'rating' | 'score'>): number {
  return retry === true || (rating ?? 5) < 3 || (score ?? 1) < 0.5 ? 0 : 1;
}

/** @throws PointsmanError BAD_DATA, BAD_ARGUMENT */
export function preferenceTable(preferences: Iterable<Preference>): PreferenceTable {
  if (preferences === null || typeof preferences !== 'object' || !(Symbol.iterator in preferences)) {
    throw new PointsmanError('BAD_ARGUMENT', 'preferences must be something to iterate over, of { user, expert, weight? }');
  }
  const builder = new Builder();
  let number = 0;
  for (const preference of preferences) builder.add(preference, `preference ${++number}`);
  return builder.table();
}

/** The preferences of a file: a log, or a text of numbers. @throws PointsmanError BAD_DATA, FILE_MISSING, FILE_IO, ABORTED */
export async function readPreferences(path: string, options: TaskOptions = {}): Promise<PreferenceTable> {
  checkOptions(options, undefined, 'readPreferences');
  checkPath(path, 'path');
  const builder = new Builder();
  for await (const { preference, where } of preferencesOf(path, options)) builder.add(preference, where);
  return builder.table();
}

export interface InteractionFileOptions extends TaskOptions {
  /** Bytes for what is being sorted. Default 2^30. */
  memory?: number | undefined;
}

/**
 * Sorts the preferences of a file into an interaction file, with memory for the names alone. Replaces an earlier file only
 * when all is written.
 * @throws PointsmanError BAD_DATA, BAD_ARGUMENT, NOT_ENOUGH_DATA, FILE_MISSING, FILE_IO, ABORTED
 */
export async function writeInteractionFile(source: string, path: string, options: InteractionFileOptions = {}): Promise<InteractionCounts> {
  const { memory = MEMORY, signal, onProgress } = checkOptions(options, undefined, 'writeInteractionFile');
  checkPath(source, 'source');
  checkPath(path, 'path');
  if (!Number.isSafeInteger(memory) || memory < 1)
    throw new PointsmanError('BAD_ARGUMENT', `memory must be a number of bytes, not ${memory}`);
  await checkFile(path);
  if ((await realpath(source).catch(() => source)) === (await realpath(path).catch(() => undefined)))
    throw new PointsmanError('BAD_ARGUMENT', `${path} is the source itself`);
  const records = `${path}.records-${randomUUID()}.tmp`;
  const [users, experts] = [new Numbering(), new Numbering()];
  let weighted = false;
  try {
    const file = await open(records, 'wx');
    try {
      const piece = new DataView(new ArrayBuffer(12 * 65536));
      let filled = 0;
      const flush = async () => {
        for (let at = 0; at < filled; ) at += (await file.write(new Uint8Array(piece.buffer, at, filled - at))).bytesWritten;
        filled = 0;
      };
      for await (const { preference, where } of preferencesOf(source, { signal })) {
        const { user, expert, weight } = checked(preference, where);
        if (weight === 0) continue;
        weighted ||= weight !== 1;
        piece.setUint32(filled, users.of(user), true);
        piece.setUint32(filled + 4, experts.of(expert), true);
        piece.setFloat32(filled + 8, weight, true);
        filled += 12;
        if (filled === piece.byteLength) await flush();
      }
      await flush();
    } finally {
      await file.close();
    }
    if (users.names.length === 0) throw new PointsmanError('NOT_ENOUGH_DATA', `${source} holds no preference`);
    const shape = { users: users.names.length, experts: experts.names.length, weighted };
    const names = [users, experts].map((each) => packNames(each.names)) as [Uint8Array, Uint8Array];
    const write = (listener: Parameters<ReturnType<typeof factorsAddon>['writeInteractions']>[6]) =>
      factorsAddon().writeInteractions(records, path, shape, ...names, memory, listener);
    return await run(write, 'sort interactions', { signal, onProgress });
  } catch (error) {
    throw error instanceof PointsmanError
      ? error
      : new PointsmanError('FILE_IO', `${path} could not be written: ${(error as Error).message}`, { cause: error });
  } finally {
    await rm(records, { force: true });
  }
}

/** Verifies an interaction file. @throws PointsmanError FILE_IO, FILE_VERSION, FILE_CORRUPT, ABORTED */
export async function readInteractionFile(
  path: string,
  options: TaskOptions = {},
): Promise<InteractionCounts & { userNames: string[]; expertNames: string[] }> {
  checkPath(path, 'path');
  const found = await run((listener) => factorsAddon().interactionCounts(path, listener), 'verify interactions', options);
  const { userNames, expertNames, ...counts } = found;
  return { ...counts, userNames: namesOf(userNames, counts.users, path), expertNames: namesOf(expertNames, counts.experts, path) };
}

/** Is it an interaction file (of whatever version)? @throws PointsmanError FILE_MISSING, FILE_IO */
export async function isInteractionFile(path: string): Promise<boolean> {
  const head = Buffer.alloc(8);
  const file = await open(path).catch((error: unknown) => {
    throw fileError(error, path);
  });
  try {
    await file.read(head, 0, 8, 0);
    return head.toString('latin1') === 'PTSMNACT';
  } catch (error) {
    throw fileError(error, path);
  } finally {
    await file.close();
  }
}

/** JSON, one name a line; no bytes: the names are the numbers. */
function packNames(names: readonly string[]): Uint8Array {
  if (names.every((name, i) => name === String(i))) return new Uint8Array();
  return Buffer.from(names.map((name) => JSON.stringify(name)).join('\n'));
}

function namesOf(bytes: Uint8Array, count: number, path: string): string[] {
  if (bytes.length === 0) return Array.from({ length: count }, (_, i) => String(i));
  try {
    const names = Buffer.from(bytes)
      .toString('utf8')
      .split('\n')
      .map((line): unknown => JSON.parse(line));
    if (names.length === count && names.every((name) => typeof name === 'string')) return names as string[];
  } catch {
    // the same words for every way of being no list of names
  }
  throw new PointsmanError('FILE_CORRUPT', `${path} has no name for each user and expert`);
}

/** A line of a log is JSON; a line of numbers is `user expert expert …`. The first line says which it is. */
async function* preferencesOf(path: string, options: TaskOptions): AsyncGenerator<{ preference: unknown; where: string }> {
  let asNumbers: boolean | undefined;
  for await (const { line, number } of logLines(path, options)) {
    const where = `${path}, line ${number}`;
    asNumbers ??= /^\s*\d/.test(line);
    if (asNumbers) {
      const [user, ...experts] = line.trim().split(/\s+/);
      if (![user, ...experts].every((id) => /^\d{1,10}$/.test(id as string)))
        throw new PointsmanError('BAD_DATA', `${where}: expected numbers, a user and the experts`);
      for (const expert of experts) yield { preference: { user, expert }, where };
    } else {
      const preference = logPreference(line, where);
      if (preference) yield { preference, where };
    }
  }
}

/** A record of a log without a user says nothing here. */
function logPreference(line: string, where: string): Preference | undefined {
  let record: Interaction | null;
  try {
    record = JSON.parse(line);
  } catch (cause) {
    throw new PointsmanError('BAD_DATA', `${where}: not JSON (${(cause as Error).message})`, { cause });
  }
  if (record === null || typeof record !== 'object' || Array.isArray(record))
    throw new PointsmanError('BAD_DATA', `${where}: expected an object`);
  if (record.user === undefined) return undefined;
  for (const [name, low, high] of [
    ['rating', 1, 5],
    ['score', 0, 1],
  ] as const) {
    const value: unknown = record[name] ?? low;
    if (typeof value !== 'number' || !(value >= low && value <= high))
      throw new PointsmanError('BAD_DATA', `${where}: ${name} must be a number from ${low} to ${high}`);
  }
  return { user: record.user, expert: record.expert, weight: contentment(record) };
}

function checked(preference: unknown, where: string): Required<{ user: string; expert: string; weight: number }> {
  const bad = (what: string) => new PointsmanError('BAD_DATA', `${where}: ${what}`);
  if (preference === null || typeof preference !== 'object') throw bad('expected { user, expert }');
  const { user, expert, weight = 1 } = preference as { [field: string]: unknown };
  if (typeof user !== 'string' || user === '') throw bad('user must be a string that is not empty');
  if (typeof expert !== 'string' || expert === '') throw bad('expert must be a string that is not empty');
  if (typeof weight !== 'number' || !(weight >= 0 && weight <= LARGEST))
    throw bad(`weight must be a number from 0 to 1e30, not ${String(weight)}`);
  return { user, expert, weight };
}

class Builder {
  readonly #users = new Numbering();
  readonly #experts = new Numbering();
  readonly #user = new Column(Uint32Array);
  readonly #expert = new Column(Uint32Array);
  readonly #weight = new Column(Float32Array);
  #weighted = false;

  /** A preference of weight 0 makes its user and expert known, and says nothing of the two. */
  add(preference: unknown, where: string): void {
    const { user, expert, weight } = checked(preference, where);
    this.#weighted ||= weight !== 1;
    this.#user.push(this.#users.of(user));
    this.#expert.push(this.#experts.of(expert));
    this.#weight.push(weight);
  }

  table(): PreferenceTable {
    return {
      users: this.#users.names,
      experts: this.#experts.names,
      user: this.#user.values(),
      expert: this.#expert.values(),
      ...(this.#weighted && { weight: this.#weight.values() }),
    };
  }
}

/** A typed array that grows. */
class Column<T extends Uint32Array | Float32Array> {
  readonly #make: new (
    length: number,
  ) => T;
  #values: T;
  #length = 0;

  constructor(make: new (length: number) => T) {
    this.#make = make;
    this.#values = new make(1024);
  }

  push(value: number): void {
    if (this.#length === this.#values.length) {
      const larger = new this.#make(2 * this.#length);
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values[this.#length++] = value;
  }

  values(): T {
    return this.#values.slice(0, this.#length) as T;
  }
}
