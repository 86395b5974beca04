/**
 * The hierarchical model of experts (native/train/hierarchical.hpp) on given coordinates of the conversations, one for each metric:
 * what an expert's features say of it is the prior, its outcomes give the posterior.
 */
import { run } from '../native.js';
import { type HierarchicalProblem, type Hierarchy, learnAddon, type Posteriors } from './addon.js';
import type { Work } from './learn.js';
import type { MetricObservations } from './observations.js';
import type { Advantages } from './stages.js';

/** Rounds of expectation maximisation: variances and map have settled to about a percent. */
const ROUNDS = 40;

/** Coordinates of the conversations, and features of the experts. */
export interface Design {
  /** conversations × dimensions */
  coordinates: Float32Array;
  rows: number;
  dimensions: number;
  /** dimensions + 1: coordinates of one group share a variance; the constant is the last. */
  group: Uint32Array;
  experts: number;
  /** experts × width, the last component 1 */
  features: Float32Array;
  width: number;
}

export function problemsOf(design: Design, metrics: readonly MetricObservations[], advantages: Advantages): HierarchicalProblem[] {
  const { coordinates, rows, dimensions, experts, features, width } = design;
  let offset = 0;
  return metrics.map(({ value, expert }) => {
    const [begin, end] = [offset, offset + value.length];
    offset = end;
    const [row, target] = [advantages.row.subarray(begin, end), advantages.target.subarray(begin, end)];
    return { coordinates, rows, dimensions, row, output: expert, target, outputs: experts, features, width };
  });
}

export async function fitHierarchies(
  design: Design,
  metrics: readonly MetricObservations[],
  problems: readonly HierarchicalProblem[],
  { threads, tasks }: Work,
): Promise<Hierarchy[]> {
  const found: Hierarchy[] = [];
  for (const [r, problem] of problems.entries()) {
    const stage = `experts, ${metrics[r]?.metric.name}`;
    const fit = await run((listener) => learnAddon().fitHierarchy(problem, design.group, ROUNDS, threads, listener), stage, tasks);
    found.push({ ...fit, variance: Array.from(fit.variance), map: Array.from(fit.map) });
  }
  return found;
}

export async function fitPosteriors(
  problems: readonly HierarchicalProblem[],
  hierarchies: readonly Hierarchy[],
  rank: number,
  { threads, tasks }: Work,
): Promise<Posteriors[]> {
  const found: Posteriors[] = [];
  for (const [r, problem] of problems.entries()) {
    found.push(await run(() => learnAddon().posteriors(problem, hierarchies[r] as Hierarchy, rank, threads), 'posteriors', tasks));
  }
  return found;
}

/** Of every outcome, metric by metric: the advantage that models predict which did not see its conversation's fold. */
export async function heldOutAdvantages(
  problems: readonly HierarchicalProblem[],
  hierarchies: readonly Hierarchy[],
  fold: Uint32Array,
  { threads, tasks }: Work,
): Promise<Float32Array> {
  const parts: number[] = [];
  for (const [r, problem] of problems.entries()) {
    const start = (listener?: (done: number, total: number) => void) =>
      learnAddon().heldOutHierarchy(problem, fold, hierarchies[r] as Hierarchy, ROUNDS, threads, listener);
    for (const value of await run(start, 'held out', tasks)) parts.push(value);
  }
  return Float32Array.from(parts);
}

/** How many columns of a posterior are kept: of n coordinates an eighth, at most 8. */
export function rankOf(n: number): number {
  return Math.min(8, Math.ceil(n / 8));
}
