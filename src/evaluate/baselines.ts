/** What a router has to beat: the best single expert, random choice, and (never reached) the per-prompt oracle. */
import { PointsmanError } from '../errors.js';
import type { MetricName, OutcomeTable } from '../types.js';
import { metricColumn } from './table.js';

/**
 * The expert with the highest mean of `metric` (the lowest, for `retry`), chosen from training outcomes. Means are
 * shrunk towards the grand mean by the one-way random effects model (Efron & Morris, 1975), so that an expert with
 * three lucky outcomes does not win:
 *
 *     m̂_e = ȳ + n_e/(n_e + λ)·(ȳ_e − ȳ),   λ = σ²_within/σ²_between  (method of moments)
 *
 * With equally many outcomes of every expert, as in a matrix, it is the plain best mean. Ties go to the first. With
 * `macro`, outcomes are weighed so that every category counts alike: the baseline of a macro mean.
 * @returns its number in `table.experts`
 */
export function bestSingleExpert(table: OutcomeTable, metric: MetricName, { macro = false }: { macro?: boolean } = {}): number {
  const sign = metric === 'retry' ? -1 : 1;
  const values = metricColumn(table, metric);
  const weight = macro ? macroWeights(table, values) : undefined;
  const size = table.experts.length;
  const count = new Float64Array(size);
  const mean = new Float64Array(size);
  const squares = new Float64Array(size); // Welford's running sums of squared deviations
  for (let n = 0; n < values.length; n++) {
    const y = sign * (values[n] as number);
    if (Number.isNaN(y)) continue;
    const e = table.expert[n] as number;
    const w = weight?.[n] ?? 1;
    count[e] = (count[e] as number) + w;
    const off = y - (mean[e] as number);
    mean[e] = (mean[e] as number) + (w * off) / (count[e] as number);
    squares[e] = (squares[e] as number) + w * off * (y - (mean[e] as number));
  }
  const total = count.reduce((sum, n) => sum + n, 0);
  const seen = count.reduce((sum, n) => sum + (n > 0 ? 1 : 0), 0);
  if (total === 0) throw new PointsmanError('NOT_ENOUGH_DATA', `the training part has no outcome of ${metric}`);
  const grand = mean.reduce((sum, m, e) => sum + m * (count[e] as number), 0) / total;
  const within = total > seen ? squares.reduce((sum, s) => sum + s, 0) / (total - seen) : 0;
  const spread = mean.reduce((sum, m, e) => sum + (count[e] as number) * (m - grand) ** 2, 0);
  const scale = total - count.reduce((sum, n) => sum + n * n, 0) / total;
  const between = scale > 0 ? Math.max(0, (spread - (seen - 1) * within) / scale) : 0;
  let best = -1;
  let bestMean = Number.NEGATIVE_INFINITY;
  for (let e = 0; e < size; e++) {
    const n = count[e] as number;
    if (n === 0) continue;
    // Without a visible difference between experts every shrunk mean is the grand one: then the plain mean decides.
    const shrunk = between > 0 ? grand + ((mean[e] as number) - grand) * (n / (n + within / between)) : (mean[e] as number);
    if (shrunk > bestMean) {
      bestMean = shrunk;
      best = e;
    }
  }
  return best;
}

/** Of each outcome N/(S·N_s), where S categories have N_s of the N outcomes. */
function macroWeights(table: OutcomeTable, values: Float32Array): Float64Array {
  const category = (n: number) => table.category?.[table.conversation[n] as number] ?? '';
  const sizes = new Map<string, number>();
  for (const [n, y] of values.entries()) if (!Number.isNaN(y)) sizes.set(category(n), (sizes.get(category(n)) ?? 0) + 1);
  const total = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  return Float64Array.from(values, (_, n) => total / (sizes.size * (sizes.get(category(n)) ?? 1)));
}

/** Outcomes of one metric where every expert's is known: only there can any choice be valued. */
export interface OutcomeMatrix {
  /** The conversation of each row. */
  readonly rows: Uint32Array;
  /** rows × experts, row-major. */
  readonly values: Float64Array;
}

/** Several outcomes of one expert for one conversation are averaged. */
export function outcomeMatrix(table: OutcomeTable, metric: MetricName): OutcomeMatrix {
  const column = metricColumn(table, metric);
  const experts = table.experts.length;
  const known = new Uint32Array(table.conversations.length);
  for (const [n, c] of table.conversation.entries()) known[c] = (known[c] as number) + (Number.isNaN(column[n]) ? 0 : 1);
  const rowOf = new Int32Array(known.length).fill(-1);
  const rows: number[] = [];
  for (const [c, outcomes] of known.entries()) if (outcomes >= experts) rowOf[c] = rows.push(c) - 1;
  const sums = new Float64Array(rows.length * experts);
  const counts = new Uint32Array(sums.length);
  for (const [n, c] of table.conversation.entries()) {
    const row = rowOf[c] as number;
    const y = column[n] as number;
    if (row < 0 || Number.isNaN(y)) continue;
    const cell = row * experts + (table.expert[n] as number);
    sums[cell] = (sums[cell] as number) + y;
    counts[cell] = (counts[cell] as number) + 1;
  }
  const whole = rows.map((_, row) => !counts.subarray(row * experts, (row + 1) * experts).includes(0));
  return {
    rows: Uint32Array.from(rows.filter((_, row) => whole[row])),
    values: sums.map((sum, cell) => sum / (counts[cell] as number)).filter((_, cell) => whole[Math.floor(cell / experts)]),
  };
}
