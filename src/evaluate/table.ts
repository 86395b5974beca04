/** Parts of an outcome table: some conversations of it, some records of it, a log drawn from it, folds of it. */
import { PointsmanError, plural } from '../errors.js';
import type { Random } from '../random.js';
import type { Attributes, MetricName, OutcomeTable } from '../types.js';

/** Group of conversation c; without groups every conversation is its own. */
export function groupOf(table: OutcomeTable, c: number): number {
  return table.group ? (table.group[c] as number) : c;
}

/** The records that `keep` accepts, with the conversations that they name, renumbered; all experts stay. */
export function selectRecords(table: OutcomeTable, keep: (record: number) => boolean): OutcomeTable {
  const records: number[] = [];
  const conversations: number[] = [];
  const renumbered = new Map<number, number>();
  for (let n = 0; n < table.conversation.length; n++) {
    if (!keep(n)) continue;
    records.push(n);
    const c = table.conversation[n] as number;
    if (!renumbered.has(c)) {
      renumbered.set(c, conversations.length);
      conversations.push(c);
    }
  }
  const of = <T>(list: readonly T[]) => conversations.map((c) => list[c] as T);
  return {
    conversations: of(table.conversations),
    experts: table.experts,
    conversation: Uint32Array.from(records, (n) => renumbered.get(table.conversation[n] as number) as number),
    expert: Uint32Array.from(records, (n) => table.expert[n] as number),
    metrics: Object.fromEntries(
      Object.entries(table.metrics).map(([metric, values]) => [metric, Float32Array.from(records, (n) => values[n] as number)]),
    ),
    ...(table.group && { group: Uint32Array.from(conversations, (c) => groupOf(table, c)) }),
    ...(table.propensity && { propensity: Float32Array.from(records, (n) => table.propensity?.[n] as number) }),
    ...(table.split && { split: of(table.split) }),
    ...(table.category && { category: of(table.category) }),
    ...(table.attributes && { attributes: of(table.attributes) }),
  };
}

/** What is known of a conversation besides its text, its category included. */
export function knownOf(table: OutcomeTable, c: number): Attributes {
  const category = table.category?.[c];
  return category ? { category, ...table.attributes?.[c] } : (table.attributes?.[c] ?? {});
}

/** The part of the table whose conversations `keep` accepts. */
export function selectConversations(table: OutcomeTable, keep: (conversation: number) => boolean): OutcomeTable {
  return selectRecords(table, (n) => keep(table.conversation[n] as number));
}

/**
 * A log drawn from a matrix: of every conversation the outcome of one expert only, drawn uniformly among those whose
 * outcome of `metric` is known; the propensity says so.
 */
export function drawLog(table: OutcomeTable, metric: MetricName, random: Random): OutcomeTable {
  const column = metricColumn(table, metric);
  const known = new Uint32Array(table.conversations.length);
  const drawn = new Int32Array(table.conversations.length).fill(-1);
  for (let n = 0; n < column.length; n++) {
    if (Number.isNaN(column[n])) continue;
    const c = table.conversation[n] as number;
    known[c] = (known[c] as number) + 1;
    if (random.below(known[c] as number) === 0) drawn[c] = n; // a reservoir of one
  }
  const records = drawn.filter((n) => n >= 0).sort();
  const log = selectRecords(table, (n) => drawn[table.conversation[n] as number] === n);
  return { ...log, propensity: Float32Array.from(records, (n) => 1 / (known[table.conversation[n] as number] as number)) };
}

/**
 * A fold for every conversation, groups kept whole, folds of like size: groups are shuffled, the large ones go first,
 * each to the fold that is smallest so far.
 */
export function groupFolds(table: OutcomeTable, folds: number, random: Random): Uint32Array {
  const sizes = new Map<number, number>();
  for (let c = 0; c < table.conversations.length; c++) {
    const group = groupOf(table, c);
    sizes.set(group, (sizes.get(group) ?? 0) + 1);
  }
  if (!Number.isInteger(folds) || folds < 2) {
    throw new PointsmanError('BAD_ARGUMENT', `folds must be an integer of at least 2, not ${String(folds)}`);
  }
  if (folds > sizes.size) {
    const remedy =
      sizes.size < 2 ? 'which cannot be divided at all' : `too few for ${folds} folds: ask for at most ${sizes.size} (--folds)`;
    throw new PointsmanError('BAD_ARGUMENT', `the data has only ${plural(sizes.size, 'group')} of conversations, ${remedy}`);
  }
  const order = random.shuffle([...sizes.keys()]).sort((a, b) => (sizes.get(b) as number) - (sizes.get(a) as number));
  const filled = new Array<number>(folds).fill(0);
  const foldOf = new Map<number, number>();
  for (const group of order) {
    const fold = filled.indexOf(Math.min(...filled));
    foldOf.set(group, fold);
    filled[fold] = (filled[fold] as number) + (sizes.get(group) as number);
  }
  return Uint32Array.from(table.conversations, (_, c) => foldOf.get(groupOf(table, c)) as number);
}

/** The column of a metric. @throws PointsmanError BAD_ARGUMENT */
export function metricColumn(table: OutcomeTable, metric: MetricName): Float32Array {
  const column = table.metrics[metric];
  if (!column) {
    const known = Object.keys(table.metrics).join(', ');
    throw new PointsmanError('BAD_ARGUMENT', `the data has no metric '${metric}'; it has ${known}`);
  }
  return column;
}
