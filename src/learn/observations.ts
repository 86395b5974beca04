/**
 * Outcomes as the solvers take them: sorted by conversation, one list for each metric, standardised.
 *
 * An observation's value is t = (y − mean_r) / s_r on the metric's scale, with s_r the standard deviation of y.
 */
import { PointsmanError } from '../errors.js';
import { Random } from '../random.js';
import type { OutcomeTable } from '../types.js';
import { METRIC_NAMES, METRICS, type Metric } from './metrics.js';

export interface MetricObservations {
  readonly metric: Metric;
  readonly mean: number;
  /** s_r */
  readonly deviation: number;
  /** One an observation, rising. */
  readonly conversation: Uint32Array;
  readonly expert: Uint32Array;
  /** t */
  readonly value: Float32Array;
  /** y, as given. */
  readonly outcome: Float32Array;
}

/** @throws PointsmanError NOT_ENOUGH_DATA, BAD_DATA, WRONG_SHAPE */
export function observationsOf(table: OutcomeTable): MetricObservations[] {
  const count = table.conversation.length;
  if (table.expert.length !== count) throw new PointsmanError('WRONG_SHAPE', 'the columns of the outcome table differ in length');
  for (let n = 0; n < count; n++) {
    if ((table.conversation[n] as number) >= table.conversations.length || (table.expert[n] as number) >= table.experts.length) {
      throw new PointsmanError('WRONG_SHAPE', `record ${n} names a conversation or an expert that is not in the table`);
    }
  }
  const order = Uint32Array.from({ length: count }, (_, n) => n).sort(
    (a, b) =>
      (table.conversation[a] as number) - (table.conversation[b] as number) ||
      (table.expert[a] as number) - (table.expert[b] as number) ||
      a - b,
  );
  const list = METRIC_NAMES.flatMap((name) => {
    const column = table.metrics[name];
    if (!column) return [];
    if (column.length !== count)
      throw new PointsmanError('WRONG_SHAPE', `the column of ${name} has ${column.length} entries, not ${count}`);
    const found = standardise(
      table,
      METRICS[name],
      column,
      order.filter((n) => !Number.isNaN(column[n])),
    );
    return found ? [found] : [];
  });
  if (list.length === 0) throw new PointsmanError('NOT_ENOUGH_DATA', 'no metric has two different outcomes');
  return list;
}

function standardise(table: OutcomeTable, metric: Metric, column: Float32Array, records: Uint32Array): MetricObservations | undefined {
  let sum = 0;
  let squares = 0;
  for (const n of records) {
    if (!metric.valid(column[n] as number)) throw new PointsmanError('BAD_DATA', `record ${n}: ${metric.name} must be ${metric.range}`);
    const y = metric.scale(column[n] as number);
    sum += y;
    squares += y * y;
  }
  const mean = sum / records.length;
  const deviation = Math.sqrt(Math.max(0, squares / records.length - mean * mean));
  if (!(deviation > 1e-9)) return undefined;
  return {
    metric,
    mean,
    deviation,
    conversation: records.map((n) => table.conversation[n] as number),
    expert: records.map((n) => table.expert[n] as number),
    value: Float32Array.from(records, (n) => (metric.scale(column[n] as number) - mean) / deviation),
    outcome: Float32Array.from(records, (n) => column[n] as number),
  };
}

/** A held-out fold for every conversation; groups, and equal conversations, stay whole. */
export function foldsOf(table: OutcomeTable, folds: number, seed: number): Uint32Array {
  const groups = new Map<string, number>();
  const groupOf = table.conversations.map((conversation, c) => {
    const key = table.group ? String(table.group[c]) : JSON.stringify(conversation);
    const number = groups.get(key) ?? groups.size;
    groups.set(key, number);
    return number;
  });
  const order = new Random(seed).shuffle(Uint32Array.from({ length: groups.size }, (_, g) => g));
  const foldOfGroup = new Uint32Array(groups.size);
  for (const [place, g] of order.entries()) foldOfGroup[g] = place % folds;
  return Uint32Array.from(groupOf, (g) => foldOfGroup[g] as number);
}

/** Runs of observations of one conversation: [begin, end) each. */
export function* runs(conversation: Uint32Array): Generator<[begin: number, end: number]> {
  for (let begin = 0; begin < conversation.length; ) {
    let end = begin + 1;
    while (end < conversation.length && conversation[end] === conversation[begin]) end++;
    yield [begin, end];
    begin = end;
  }
}

/** Where each key from 0 to size − 1 stands in `key`: places order[starts[k]] … order[starts[k + 1] − 1], rising. */
export function placesBy(key: Uint32Array, size: number): { starts: Uint32Array; order: Uint32Array } {
  const starts = new Uint32Array(size + 1);
  for (const k of key) starts[k + 1] = (starts[k + 1] as number) + 1;
  for (let k = 0; k < size; k++) starts[k + 1] = (starts[k + 1] as number) + (starts[k] as number);
  const next = starts.slice();
  const order = new Uint32Array(key.length);
  for (const [e, k] of key.entries()) {
    order[next[k] as number] = e;
    next[k] = (next[k] as number) + 1;
  }
  return { starts, order };
}
