/** What a command is, and how its options are read. */
import { readFile } from 'node:fs/promises';
import { MAX_K } from '../engine/index.js';
import { PointsmanError } from '../errors.js';
import type { Explore } from '../route/index.js';
import type { Attributes, MetricName, Objective, ProgressListener } from '../types.js';

/** An option as `parseArgs` takes it, with what `--help` says of it. */
export interface Option {
  type: 'string' | 'boolean';
  short?: string;
  multiple?: boolean;
  help: string;
  /** The placeholder of its value. */
  value?: string;
}

export type Values = { readonly [option: string]: string | boolean | (string | boolean)[] | undefined };

/** What a command may use of the world. */
export interface Context {
  signal: AbortSignal;
  onProgress: ProgressListener | undefined;
  stdin: AsyncIterable<Buffer | string>;
  /** Says something before the result is there, on standard error. */
  notice(text: string): void;
}

/** What a command gives: `json` for programs, `text` for people; `failed` makes the exit code 1. */
export interface Outcome {
  json: unknown;
  text: string;
  failed?: boolean;
}

export interface Command {
  name: string;
  summary: string;
  /** The arguments after the name. */
  usage: string;
  /** More than the summary, where there is more to say. */
  details?: string;
  example: string;
  options: { readonly [name: string]: Option };
  run(values: Values, positionals: readonly string[], context: Context): Promise<Outcome>;
}

export function usage(message: string): PointsmanError {
  return new PointsmanError('USAGE', message);
}

export function text(values: Values, name: string): string | undefined {
  const value = values[name];
  return typeof value === 'string' ? value : undefined;
}

export function required(values: Values, name: string): string {
  const value = text(values, name);
  if (!value) throw usage(`--${name} is needed`);
  return value;
}

export function number(values: Values, name: string, or = ''): number | undefined {
  const value = text(values, name);
  if (value === undefined) return undefined;
  const parsed = Number(value);
  if (value.trim() === '' || !Number.isFinite(parsed)) throw usage(`--${name} must be a number${or}, not '${value}'`);
  return parsed;
}

export function integer(values: Values, name: string, least = 0): number | undefined {
  const parsed = number(values, name);
  if (parsed !== undefined && (!Number.isSafeInteger(parsed) || parsed < least)) {
    throw usage(`--${name} must be an integer of at least ${least}, not ${parsed}`);
  }
  return parsed;
}

/** --explore and --among: an ε, or `thompson`. */
export function exploring(values: Values): Explore | undefined {
  const among = integer(values, 'among', 1);
  if (text(values, 'explore') === 'thompson') return { policy: 'thompson', among };
  const epsilon = number(values, 'explore', " or 'thompson'");
  if (epsilon === undefined && among !== undefined) throw usage('--among needs --explore');
  return epsilon === undefined ? undefined : { epsilon, among };
}

/** -k; out of bounds it is BAD_K everywhere, as in programs. */
export function resultCount(values: Values): number | undefined {
  const k = number(values, 'k');
  if (k !== undefined && (!Number.isInteger(k) || k < 1 || k > MAX_K)) {
    throw new PointsmanError('BAD_K', `k must be an integer from 1 to ${MAX_K}, not ${k}`);
  }
  return k;
}

/** For commands that take no arguments besides options. */
export function noArguments(positionals: readonly string[]): void {
  if (positionals.length > 0) throw usage(`unexpected argument '${positionals[0]}'`);
}

export function oneOf<T extends string>(values: Values, name: string, allowed: readonly T[]): T | undefined {
  const value = text(values, name);
  const found = allowed.find((each) => each === value);
  if (value !== undefined && found === undefined) throw usage(`--${name} must be one of ${allowed.join(', ')}, not '${value}'`);
  return found;
}

/** `retry=-1,rating=0.5` as an objective; which metrics exist is the model's to say. */
export function objective(values: Values): Objective | undefined {
  const value = text(values, 'objective');
  if (value === undefined) return undefined;
  const weights: { [metric in MetricName]?: number } = {};
  for (const part of value.split(',')) {
    const match = /^\s*(\w+)\s*=\s*(\S+)\s*$/.exec(part);
    const weight = Number(match?.[2] ?? Number.NaN);
    if (!match || !Number.isFinite(weight)) throw usage(`--objective must look like retry=-1,rating=0.5, not '${value}'`);
    const metric = match[1] as MetricName;
    if (metric in weights) throw usage(`--objective weighs ${metric} twice: '${value}'`);
    weights[metric] = weight;
  }
  return weights;
}

/** `a,b` as names; which exist is for others to say. */
export function nameList(values: Values, name: string): string[] | undefined {
  const names = text(values, name)?.split(',');
  if (names?.some((each) => each.trim() === '')) throw usage(`--${name} must look like a,b, not '${text(values, name)}'`);
  return names?.map((each) => each.trim());
}

/** `tier=gold,language=en` as attributes of a conversation; which exist is the model's to say. */
export function attributes(values: Values): Attributes | undefined {
  const value = text(values, 'attributes');
  if (value === undefined) return undefined;
  const given = new Map<string, string>();
  for (const part of value.split(',')) {
    const match = /^\s*([^=]*[^=\s])\s*=\s*(.*\S)\s*$/.exec(part);
    if (!match) throw usage(`--attributes must look like tier=gold,language=en, not '${value}'`);
    const [, name, each] = match as unknown as [string, string, string];
    if (given.has(name)) throw usage(`--attributes gives ${name} twice: '${value}'`);
    given.set(name, each);
  }
  return Object.fromEntries(given);
}

/** Ids of a repeatable option: `a,b` or `@file` with an id a line. */
export async function idList(values: Values, name: string): Promise<string[] | undefined> {
  const given = values[name];
  if (!Array.isArray(given)) return undefined;
  const lists = given.map(async (part) => {
    const item = String(part);
    return item.startsWith('@') ? lines(await readText(item.slice(1))) : item.split(',');
  });
  return (await Promise.all(lists)).flat().filter((id) => id !== '');
}

export function lines(content: string): string[] {
  return content.split(/\r?\n/).filter((line) => line !== '');
}

/** @throws PointsmanError FILE_MISSING, FILE_IO */
export async function readText(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((cause: unknown) => {
    throw fileError(path, cause);
  });
}

export function fileError(path: string, cause: unknown): PointsmanError {
  const missing = (cause as NodeJS.ErrnoException)?.code === 'ENOENT';
  const why = cause instanceof Error ? cause.message : String(cause);
  return missing
    ? new PointsmanError('FILE_MISSING', `${path} does not exist`, { cause })
    : new PointsmanError('FILE_IO', `${path} could not be read or written: ${why}`, { cause });
}
