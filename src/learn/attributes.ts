/**
 * Attributes as coordinates: one for each value that was seen often enough, 1 where the conversation has it, centred by how often
 * it occurs. An unknown value, and an attribute that is not given, is 0 in all of them: the average over the values.
 */
import { PointsmanError } from '../errors.js';
import type { Attributes, OutcomeTable } from '../types.js';

/** An attribute that a model knows. */
export interface KnownAttribute {
  name: string;
  values: string[];
  /** Of the training conversations that have the attribute, the share with each value. */
  shares: number[];
}

/** A value seen in fewer conversations teaches nothing that holds. */
const LEAST_SEEN = 5;
/** The most frequent ones, over all attributes. */
const MOST_VALUES = 512;

/** What the conversations of a table are known by. `names` may take the table's category as an attribute. */
export function attributesOf(table: OutcomeTable, names: readonly string[] | undefined): readonly Attributes[] {
  if (names === undefined) return table.attributes ?? table.conversations.map(() => ({}));
  if (!Array.isArray(names)) throw new PointsmanError('BAD_ARGUMENT', `attributes must be a list of names, not ${String(names)}`);
  const has = (name: string) => table.attributes?.some((each) => each[name] !== undefined) || (name === 'category' && table.category);
  const missing = names.find((name) => !has(name));
  if (missing !== undefined) throw new PointsmanError('BAD_ARGUMENT', `no conversation of the data has the attribute '${missing}'`);
  return table.conversations.map((_, c) => {
    const given = table.attributes?.[c] ?? {};
    const category = table.category?.[c];
    const all: Attributes = category ? { category, ...given } : given;
    return Object.fromEntries(Object.entries(all).filter(([name]) => names.includes(name)));
  });
}

export function knownAttributes(attributes: readonly Attributes[]): KnownAttribute[] {
  const counts = new Map<string, Map<string, number>>();
  for (const each of attributes) {
    for (const [name, value] of Object.entries(each)) {
      const values = counts.get(name) ?? new Map<string, number>();
      counts.set(name, values.set(value, (values.get(value) ?? 0) + 1));
    }
  }
  const frequent = [...counts].flatMap(([name, values]) => [...values].map(([value, count]) => ({ name, value, count })));
  const order = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
  const kept = frequent
    .filter(({ count }) => count >= LEAST_SEEN)
    .sort((a, b) => b.count - a.count || order(a.name, b.name) || order(a.value, b.value))
    .slice(0, MOST_VALUES);
  return [...counts.keys()].sort(order).flatMap((name) => {
    const own = kept.filter((each) => each.name === name).sort((a, b) => order(a.value, b.value));
    const total = [...(counts.get(name) as Map<string, number>).values()].reduce((sum, count) => sum + count, 0);
    if (own.length === 0) return [];
    return [{ name, values: own.map(({ value }) => value), shares: own.map(({ count }) => count / total) }];
  });
}

export function attributeWidth(known: readonly KnownAttribute[]): number {
  return known.reduce((sum, { values }) => sum + values.length, 0);
}

/** Names of the coordinates, such as `category=java`. */
export function attributeNames(known: readonly KnownAttribute[]): string[] {
  return known.flatMap(({ name, values }) => values.map((value) => `${name}=${value}`));
}

/** One conversation's coordinates, written to `out` from `at` on. */
export function attributeCoordinates(known: readonly KnownAttribute[], given: Attributes, out: Float32Array, at: number): void {
  for (const { name, values, shares } of known) {
    const own = given[name];
    const place = own === undefined ? -1 : values.indexOf(own);
    for (const [v, share] of shares.entries()) out[at + v] = place < 0 ? 0 : Number(v === place) - share;
    at += values.length;
  }
}

/** @throws what `bad` makes of what is wrong */
export function checkAttributes(value: unknown, bad: (what: string) => PointsmanError): Attributes {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    throw bad("attributes must be an object of names and values, such as { category: 'java' }");
  }
  for (const [name, each] of Object.entries(value)) {
    if (name === '' || typeof each !== 'string' || each === '')
      throw bad(`the attribute '${name}' must have a name and a value, both strings that are not empty`);
  }
  return value as Attributes;
}
