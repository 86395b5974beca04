/**
 * 95% intervals by resampling groups.
 *
 * Percentile bootstrap (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, §13.3) of a ratio of sums, drawn
 * by cluster (Field & Welsh, Bootstrapping clustered data, JRSS B 2007): near-duplicate conversations come and go
 * together. Within strata the groups are resampled apart and the strata's ratios averaged, which is the macro mean:
 *
 *     θ = (1/S) Σ_s  Σ_{i∈s} numerator_i / Σ_{i∈s} denominator_i        (denominator 1 unless given: a plain mean)
 *
 * All columns share the same resamples, so differences between them are paired (Koehn, Statistical significance
 * tests for machine translation evaluation, EMNLP 2004). Seeded: the same input gives the same interval.
 */
import { Random } from '../random.js';
import type { Estimate } from './contract.js';

/** One number a unit; `denominator` turns the mean into a ratio. */
export interface Column {
  numerator: Float64Array;
  denominator?: Float64Array | undefined;
}

/** How the units hang together; both arrays are one number a unit. */
export interface Units {
  group: ArrayLike<number>;
  /** Absent: one stratum. */
  stratum?: ArrayLike<number> | undefined;
}

/** A statistic with its value in every resample. */
export interface Resampled {
  mean: number;
  replicates: Float64Array;
}

export function resample<Name extends string>(
  columns: { readonly [name in Name]: Column },
  units: Units,
  { replicates = 2000, seed = 0 }: { replicates?: number | undefined; seed?: number | undefined } = {},
): { [name in Name]: Resampled } {
  const names = Object.keys(columns) as Name[];
  const strata = groupSums(
    names.map((name) => columns[name]),
    units,
  );
  const random = new Random(seed);
  const values = names.map(() => new Float64Array(replicates));
  const ratio = (sums: ArrayLike<number>, c: number) => (sums[2 * c] as number) / (sums[2 * c + 1] as number);
  for (let b = 0; b < replicates; b++) {
    for (const { sums, groups, width } of strata) {
      const drawn = new Float64Array(width);
      for (let n = 0; n < groups; n++) {
        const start = random.below(groups) * width;
        for (let j = 0; j < width; j++) drawn[j] = (drawn[j] as number) + (sums[start + j] as number);
      }
      for (const [c, value] of values.entries()) value[b] = (value[b] as number) + ratio(drawn, c) / strata.length;
    }
  }
  const result = {} as { [name in Name]: Resampled };
  for (const [c, name] of names.entries()) {
    const mean = strata.reduce((sum, { total }) => sum + ratio(total, c) / strata.length, 0);
    result[name] = { mean, replicates: values[c] as Float64Array };
  }
  return result;
}

/** The 95% interval of one statistic, or of the paired difference `of − minus`. */
export function interval(of: Resampled, minus?: Resampled): Estimate {
  const replicates = of.replicates.map((value, b) => value - (minus?.replicates[b] ?? 0));
  const sorted = replicates.filter((value) => !Number.isNaN(value)).sort(); // a resample without any weight has no ratio
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
  return { mean: of.mean - (minus?.mean ?? 0), low: at(0.025), high: at(0.975) };
}

interface Stratum {
  /** groups × width: of each group, the sums of numerator and denominator of each column. */
  sums: Float64Array;
  /** The column sums of the whole stratum. */
  total: Float64Array;
  groups: number;
  width: number;
}

function groupSums(columns: readonly Column[], { group, stratum }: Units): Stratum[] {
  const width = 2 * columns.length;
  const members = new Map<number, Map<number, number[]>>();
  for (let i = 0; i < group.length; i++) {
    const key = stratum?.[i] ?? 0;
    const groups = members.get(key) ?? new Map<number, number[]>();
    members.set(key, groups);
    const label = group[i] as number;
    const list = groups.get(label);
    if (list) list.push(i);
    else groups.set(label, [i]);
  }
  return [...members.values()].map((groups) => {
    const sums = new Float64Array(groups.size * width);
    const total = new Float64Array(width);
    let start = 0;
    for (const list of groups.values()) {
      for (const i of list) {
        for (const [c, { numerator, denominator }] of columns.entries()) {
          const pair = [numerator[i] as number, denominator?.[i] ?? 1] as const;
          for (const j of [0, 1] as const) {
            sums[start + 2 * c + j] = (sums[start + 2 * c + j] as number) + pair[j];
            total[2 * c + j] = (total[2 * c + j] as number) + pair[j];
          }
        }
      }
      start += width;
    }
    return { sums, total, groups: groups.size, width };
  });
}
