/**
 * Score tables as features of experts: standardised, with holes filled by what the expert's other scores say.
 *
 * A hole's value is its conditional expectation given the scores that are there, under a normal distribution with the table's
 * means and covariances (over the pairs of scores that are both there, shrunk by a tenth towards independence, so that it stays
 * definite); what is not known keeps its conditional covariance, which widens the expert's prior. An expert without any score gets
 * the means, and the whole covariance.
 */
import { PointsmanError } from '../errors.js';
import type { ScoreTable } from '../types.js';

/** What is frozen of a score table. */
export interface ContentParameters {
  dimensions: string[];
  mean: number[];
  deviation: number[];
  /** Of standardised scores: dimensions², row-major. */
  covariance: number[];
}

const SHRINKAGE = 0.1;

export function contentParameters({ dimensions, experts, scores }: ScoreTable): ContentParameters {
  const D = dimensions.length;
  const present = (d: number) =>
    Array.from({ length: experts.length }, (_, e) => scores[e * D + d] as number).filter((s) => !Number.isNaN(s));
  const mean: number[] = [];
  const deviation: number[] = [];
  for (const [d, name] of dimensions.entries()) {
    const own = present(d);
    if (own.length === 0) throw new PointsmanError('NOT_ENOUGH_DATA', `the score table has no score in the dimension '${name}'`);
    const average = own.reduce((sum, s) => sum + s, 0) / own.length;
    mean.push(average);
    deviation.push(Math.sqrt(own.reduce((sum, s) => sum + (s - average) ** 2, 0) / own.length) || 1);
  }
  const z = (e: number, d: number) => ((scores[e * D + d] as number) - (mean[d] as number)) / (deviation[d] as number);
  const covariance = Array.from({ length: D * D }, (_, i) => {
    const [a, b] = [Math.floor(i / D), i % D];
    let sum = 0;
    let count = 0;
    for (let e = 0; e < experts.length; e++) {
      const product = z(e, a) * z(e, b);
      if (Number.isNaN(product)) continue;
      sum += product;
      count++;
    }
    if (a === b) return 1;
    return count === 0 ? 0 : ((1 - SHRINKAGE) * sum) / count;
  });
  return { dimensions: [...dimensions], mean, deviation, covariance };
}

/** An expert's features. */
export interface Content {
  /** Scores with holes filled, in the table's own units. */
  scores: number[];
  /** Of the standardised scores, what is not known: dimensions², row-major; absent when all are known. */
  unknown?: number[];
}

/** @param given one score a dimension, NaN where missing */
export function contentOf({ mean, deviation, covariance }: ContentParameters, given: ArrayLike<number>): Content {
  const D = mean.length;
  const z = Array.from({ length: D }, (_, d) => ((given[d] as number) - (mean[d] as number)) / (deviation[d] as number));
  const seen = [...z.keys()].filter((d) => !Number.isNaN(z[d]));
  if (seen.length === D) return { scores: Array.from(given) };
  const holes = [...z.keys()].filter((d) => Number.isNaN(z[d]));
  const at = (a: number, b: number) => covariance[a * D + b] as number;
  // Of each hole: its coefficients on what is seen.
  const coefficients = solve(
    seen.map((a) => seen.map((b) => at(a, b))),
    holes.map((hole) => seen.map((a) => at(a, hole))),
  );
  const unknown = new Array<number>(D * D).fill(0);
  const filled = [...z];
  for (const [h, hole] of holes.entries()) {
    const own = coefficients?.[h];
    filled[hole] = own ? own.reduce((sum, c, s) => sum + c * (z[seen[s] as number] as number), 0) : 0;
    for (const other of holes) {
      unknown[hole * D + other] = own
        ? at(hole, other) - own.reduce((sum, c, s) => sum + c * at(seen[s] as number, other), 0)
        : Number(hole === other);
    }
  }
  const scores = filled.map((value, d) =>
    Number.isNaN(z[d]) ? (mean[d] as number) + (deviation[d] as number) * value : (given[d] as number),
  );
  return { scores, unknown };
}

/** Solves a symmetric system for several right sides by Gauss's elimination; undefined where it is not positive definite. */
function solve(matrix: number[][], rights: number[][]): number[][] | undefined {
  const n = matrix.length;
  for (let i = 0; i < n; i++) {
    const row = matrix[i] as number[];
    const pivot = row[i] as number;
    if (!(pivot > 1e-9)) return undefined;
    for (let r = i + 1; r < n; r++) {
      const other = matrix[r] as number[];
      const factor = (other[i] as number) / pivot;
      for (let c = i; c < n; c++) other[c] = (other[c] as number) - factor * (row[c] as number);
      for (const right of rights) right[r] = (right[r] as number) - factor * (right[i] as number);
    }
  }
  for (let i = n - 1; i >= 0; i--) {
    const row = matrix[i] as number[];
    for (const right of rights) {
      let sum = right[i] as number;
      for (let c = i + 1; c < n; c++) sum -= (row[c] as number) * (right[c] as number);
      right[i] = sum / (row[i] as number);
    }
  }
  return rights;
}

/** Of each expert its row of the table, or nothing known. */
export function contentRows(parameters: ContentParameters, table: ScoreTable, experts: readonly string[]): Content[] {
  const D = parameters.dimensions.length;
  const rowOf = new Map(table.experts.map((expert, e) => [expert, e]));
  const nothing = new Array<number>(D).fill(Number.NaN);
  return experts.map((expert) => {
    const row = rowOf.get(expert);
    return contentOf(parameters, row === undefined ? nothing : table.scores.subarray(row * D, (row + 1) * D));
  });
}
