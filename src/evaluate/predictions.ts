/**
 * Predicted outcomes held against true ones, on outcome matrices: log-loss (outcomes of 0–1 as probabilities) and the area under the
 * ROC curve, with paired 95% bootstrap intervals over groups of conversations.
 *
 * - cells: 30% of the (expert, conversation) cells are hidden and predicted from the rest.
 * - cold start: half of the conversations is judged, the other half predicted; a fifth of the experts is known only by its mean in
 *   each category of the judged half, as a judge's table would give it.
 */
import { PointsmanError } from '../errors.js';
import { Random } from '../random.js';
import type { Attributes, Conversation, MetricName, OutcomeTable, ScoreTable, TaskOptions } from '../types.js';
import { interval, type Resampled, resample } from './bootstrap.js';
import type { Estimate, EvaluateOptions } from './contract.js';
import { groupFolds, groupOf, knownOf, metricColumn, selectRecords } from './table.js';

/** Probabilities, conversations × experts. */
export type Predictor = (
  conversations: readonly Conversation[],
  experts: readonly string[],
  options: { attributes: readonly Attributes[]; signal?: AbortSignal | undefined },
) => Promise<Float64Array>;

/** Learns from outcomes and from a table of scores, which has a row for every expert that will be asked for. */
export type PredictorFit = (training: OutcomeTable, scores: ScoreTable, options: TaskOptions & { seed: number }) => Promise<Predictor>;

/** Predicts wanted cells from known ones; `additive` asks for expert + conversation alone. */
export type CellPredictor = (
  known: { rows: number; columns: number; row: Uint32Array; column: Uint32Array; value: Float32Array },
  wanted: { row: Uint32Array; column: Uint32Array },
  options: { seed: number; additive: boolean },
) => Float64Array;

export interface ColdEvaluation {
  protocol: string;
  conversations: number;
  experts: number;
  heldOutExperts: number;
  seeds: number[];
  /** Log-loss of the held-out experts' outcomes. `population` is the better of a model that knows nothing of them and of the others' mean in the category. */
  logLoss: { population: Estimate; scores: Estimate; outcomes: Estimate };
  /** What the scores save of the population's log-loss. */
  gain: Estimate;
  /** (population − scores) / (population − outcomes) */
  share: Estimate;
}

export interface CellsEvaluation {
  protocol: string;
  conversations: number;
  experts: number;
  hidden: number;
  seeds: number[];
  logLoss: { additive: Estimate; model: Estimate; gain: Estimate };
  auc: { additive: Estimate; model: Estimate; gain: Estimate };
}

/** Mean outcome of every expert in every category; NaN where there is none. @throws PointsmanError BAD_ARGUMENT without categories */
export function categoryMeans(table: OutcomeTable, metric: MetricName): ScoreTable {
  const categories = table.category;
  if (!categories) throw new PointsmanError('BAD_ARGUMENT', 'the data names no categories to take means over');
  const column = metricColumn(table, metric);
  const dimensions = [...new Set(categories)].sort();
  const D = dimensions.length;
  const place = new Map(dimensions.map((name, d) => [name, d]));
  const sums = new Float64Array(table.experts.length * D);
  const counts = new Uint32Array(sums.length);
  for (const [n, c] of table.conversation.entries()) {
    const y = column[n] as number;
    if (Number.isNaN(y)) continue;
    const cell = (table.expert[n] as number) * D + (place.get(categories[c] as string) as number);
    sums[cell] = (sums[cell] as number) + y;
    counts[cell] = (counts[cell] as number) + 1;
  }
  return { dimensions, experts: table.experts, scores: Float32Array.from(sums, (sum, i) => sum / (counts[i] as number)) };
}

/** @throws PointsmanError BAD_ARGUMENT, NOT_ENOUGH_DATA, ABORTED */
export async function evaluateCold(table: OutcomeTable, fit: PredictorFit, options: EvaluateOptions = {}): Promise<ColdEvaluation> {
  const { seeds = [0, 1, 2, 3, 4], replicates, signal, onProgress } = options;
  const column = metricColumn(table, 'score');
  const size = table.experts.length;
  const held = Math.round(size / 5);
  if (held < 1) throw new PointsmanError('NOT_ENOUGH_DATA', 'at least three experts are needed to hold a fifth of them out');
  const names = ['unknown', 'category', 'scores', 'outcomes'] as const;
  const sums = Object.fromEntries(names.map((name) => [name, new Float64Array(table.conversations.length)]));
  const counts = new Float64Array(table.conversations.length);
  for (const [s, seed] of seeds.entries()) {
    onProgress?.({ stage: 'evaluate', done: s, total: seeds.length });
    const random = new Random(seed);
    const half = groupFolds(table, 2, random);
    const out = new Set(random.shuffle(Uint32Array.from({ length: size }, (_, e) => e)).subarray(0, held));
    const judged = (n: number) => half[table.conversation[n] as number] === 0;
    const all = selectRecords(table, judged);
    const others = selectRecords(table, (n) => judged(n) && !out.has(table.expert[n] as number));
    const scores = categoryMeans(all, 'score');
    const D = scores.dimensions.length;
    const without = { ...scores, scores: scores.scores.map((value, i) => (out.has(Math.floor(i / D)) ? Number.NaN : value)) };
    const tested = table.conversations.flatMap((_, c) => (half[c] === 1 ? [c] : []));
    const experts = [...out].map((e) => table.experts[e] as string);
    const asked = { attributes: tested.map((c) => knownOf(table, c)), signal };
    const predict = async (training: OutcomeTable, known: ScoreTable) => {
      const predictor = await fit(training, known, { seed, signal, onProgress });
      return predictor(
        tested.map((c) => table.conversations[c] as Conversation),
        experts,
        asked,
      );
    };
    const ofCategory = categoryRates(others);
    const predictions = {
      unknown: await predict(others, without),
      category: Float64Array.from({ length: tested.length * held }, (_, i) =>
        ofCategory(table.category?.[tested[Math.floor(i / held)] as number]),
      ),
      scores: await predict(others, scores),
      outcomes: await predict(all, scores),
    };
    const rowOf = new Map(tested.map((c, row) => [c, row]));
    const placeOf = new Map([...out].map((e, place) => [e, place]));
    for (const [n, c] of table.conversation.entries()) {
      const row = rowOf.get(c);
      const place = placeOf.get(table.expert[n] as number);
      const y = column[n] as number;
      if (row === undefined || place === undefined || Number.isNaN(y)) continue;
      for (const name of names) {
        const sum = sums[name] as Float64Array;
        sum[c] = (sum[c] as number) + logLoss(predictions[name][row * held + place] as number, y);
      }
      counts[c] = (counts[c] as number) + 1;
    }
  }
  onProgress?.({ stage: 'evaluate', done: seeds.length, total: seeds.length });
  const used = [...counts.keys()].filter((c) => (counts[c] as number) > 0);
  const denominator = Float64Array.from(used, (c) => counts[c] as number);
  const columns = Object.fromEntries(
    names.map((name) => [name, { numerator: Float64Array.from(used, (c) => (sums[name] as Float64Array)[c] as number), denominator }]),
  ) as Record<(typeof names)[number], { numerator: Float64Array; denominator: Float64Array }>;
  const found = resample(columns, { group: used.map((c) => groupOf(table, c)) }, { replicates });
  const population = found.unknown.mean < found.category.mean ? found.unknown : found.category;
  return {
    protocol: 'cold start: a fifth of the experts known by their category means on the judged half',
    conversations: used.length,
    experts: size,
    heldOutExperts: held,
    seeds: [...seeds],
    logLoss: { population: interval(population), scores: interval(found.scores), outcomes: interval(found.outcomes) },
    gain: interval(population, found.scores),
    share: interval(
      combined(
        [population, found.scores, found.outcomes],
        ([p, s, o]) => ((p as number) - (s as number)) / ((p as number) - (o as number)),
      ),
    ),
  };
}

/** @throws PointsmanError BAD_ARGUMENT, NOT_ENOUGH_DATA */
export function evaluateCells(table: OutcomeTable, predict: CellPredictor, options: EvaluateOptions = {}): CellsEvaluation {
  const { seeds = [0, 1, 2, 3, 4], replicates = 500, signal, onProgress } = options;
  const column = metricColumn(table, 'score');
  const cells: { c: number; y: number; additive: number; model: number }[] = [];
  for (const [s, seed] of seeds.entries()) {
    if (signal?.aborted) throw new PointsmanError('ABORTED', 'the evaluation was aborted', { cause: signal.reason });
    onProgress?.({ stage: 'evaluate', done: s, total: seeds.length });
    const random = new Random(seed);
    const hidden = Array.from(column, (y) => !Number.isNaN(y) && random.uniform() < 0.3);
    const pick = <T extends Uint32Array | Float32Array>(of: T, side: boolean) =>
      of.filter((_, n) => !Number.isNaN(column[n]) && hidden[n] === side) as T;
    const known = {
      rows: table.conversations.length,
      columns: table.experts.length,
      row: pick(table.conversation, false),
      column: pick(table.expert, false),
      value: pick(column, false),
    };
    const wanted = { row: pick(table.conversation, true), column: pick(table.expert, true) };
    const [additive, model] = [true, false].map((only) => predict(known, wanted, { seed, additive: only })) as [Float64Array, Float64Array];
    const truth = pick(column, true);
    for (const [e, y] of truth.entries())
      cells.push({ c: wanted.row[e] as number, y, additive: additive[e] as number, model: model[e] as number });
  }
  onProgress?.({ stage: 'evaluate', done: seeds.length, total: seeds.length });
  if (cells.length === 0) throw new PointsmanError('NOT_ENOUGH_DATA', 'there is no outcome of score to predict');
  const group = cells.map(({ c }) => groupOf(table, c));
  const losses = (name: 'additive' | 'model') => ({ numerator: Float64Array.from(cells, (cell) => logLoss(cell[name], cell.y)) });
  const loss = resample({ additive: losses('additive'), model: losses('model') }, { group }, { replicates });
  const area = { additive: areas(cells, group, 'additive', replicates), model: areas(cells, group, 'model', replicates) };
  return {
    protocol: '30% of the cells hidden',
    conversations: table.conversations.length,
    experts: table.experts.length,
    hidden: cells.length,
    seeds: [...seeds],
    logLoss: { additive: interval(loss.additive), model: interval(loss.model), gain: interval(loss.additive, loss.model) },
    auc: { additive: interval(area.additive), model: interval(area.model), gain: interval(area.model, area.additive) },
  };
}

function logLoss(probability: number, y: number): number {
  const p = Math.min(1 - 1e-6, Math.max(1e-6, probability));
  return -(y * Math.log(p) + (1 - y) * Math.log(1 - p));
}

/** Smoothed mean outcome of a category, whoever answered. */
function categoryRates(table: OutcomeTable): (category: string | undefined) => number {
  const column = metricColumn(table, 'score');
  const sums = new Map<string, [sum: number, count: number]>();
  for (const [n, c] of table.conversation.entries()) {
    const y = column[n] as number;
    const key = table.category?.[c] ?? '';
    const [sum, count] = sums.get(key) ?? [0, 0];
    if (!Number.isNaN(y)) sums.set(key, [sum + y, count + 1]);
  }
  return (category) => {
    const [sum, count] = sums.get(category ?? '') ?? [0, 0];
    return (sum + 0.5) / (count + 1);
  };
}

function combined(parts: readonly Resampled[], of: (values: number[]) => number): Resampled {
  const replicates = (parts[0] as Resampled).replicates.map((_, b) => of(parts.map((part) => part.replicates[b] as number)));
  return { mean: of(parts.map(({ mean }) => mean)), replicates };
}

/** The area under the ROC curve, an outcome of y as y of a positive and 1 − y of a negative; ties count half. */
function areas(
  cells: readonly { y: number; additive: number; model: number }[],
  group: readonly number[],
  name: 'additive' | 'model',
  replicates: number,
): Resampled {
  const order = Uint32Array.from(cells.keys()).sort((a, b) => (cells[a]?.[name] as number) - (cells[b]?.[name] as number) || a - b);
  const labels = [...new Set(group)];
  const place = new Map(labels.map((label, g) => [label, g]));
  const groups = Uint32Array.from(group, (label) => place.get(label) as number);
  const area = (weight: Float64Array | undefined) => {
    let [below, sum, positive, negative] = [0, 0, 0, 0];
    for (let i = 0; i < order.length; ) {
      let [tied, ups] = [0, 0];
      const score = cells[order[i] as number]?.[name];
      for (; i < order.length && cells[order[i] as number]?.[name] === score; i++) {
        const e = order[i] as number;
        const w = weight ? (weight[groups[e] as number] as number) : 1;
        const y = cells[e]?.y as number;
        ups += w * y;
        tied += w * (1 - y);
      }
      sum += ups * (below + tied / 2);
      below += tied;
      positive += ups;
      negative += tied;
    }
    return sum / (positive * negative);
  };
  const random = new Random(0); // the same resamples for every column
  const values = Float64Array.from({ length: replicates }, () => {
    const weight = new Float64Array(labels.length);
    for (let n = 0; n < labels.length; n++) {
      const g = random.below(labels.length);
      weight[g] = (weight[g] as number) + 1;
    }
    return area(weight);
  });
  return { mean: area(undefined), replicates: values };
}
