/** Rubrics: the named dimensions that a judge scores, each with what it means. */
import { PointsmanError, someOf } from '../errors.js';

export interface Dimension {
  /** As it is called in the feature space and in the score table. */
  name: string;
  /** What earns a high score and what a low one: the judge reads it. */
  description: string;
  /** Only responses to prompts of this data set are scored in it. Default: all. */
  dataset?: string | undefined;
  /** Only responses to prompts of this category are scored in it. Default: all. */
  category?: string | undefined;
}

export interface Rubric {
  dimensions: readonly Dimension[];
  /** The scale that the judge uses, lowest and highest; the table's scores are scaled to 0–1. Default [0, 10]. */
  range?: readonly [low: number, high: number] | undefined;
}

export interface CheckedRubric {
  dimensions: readonly Dimension[];
  range: readonly [low: number, high: number];
}

/** @throws PointsmanError BAD_ARGUMENT, DUPLICATE_ID */
export function checkRubric(rubric: unknown): CheckedRubric {
  const bad = (what: string) => new PointsmanError('BAD_ARGUMENT', `the rubric ${what}`);
  const { dimensions, range = [0, 10] } = (rubric ?? {}) as { dimensions?: unknown; range?: unknown };
  if (!Array.isArray(dimensions) || dimensions.length === 0) throw bad('needs dimensions, a list of { name, description }');
  const names = new Set<string>();
  for (const [d, dimension] of dimensions.entries()) {
    const { name, description, ...others } = (dimension ?? {}) as { [field: string]: unknown };
    if (typeof name !== 'string' || name.trim() === '') throw bad(`has no name for dimension ${d + 1}`);
    if (typeof description !== 'string' || description.trim() === '') throw bad(`does not describe ${someOf([name])}`);
    for (const [field, value] of Object.entries(others)) {
      if (field !== 'dataset' && field !== 'category') throw bad(`gives ${someOf([name])} an unknown field '${field}'`);
      if (value !== undefined && typeof value !== 'string') throw bad(`has a ${field} that is no string for ${someOf([name])}`);
    }
    if (names.has(name)) throw new PointsmanError('DUPLICATE_ID', `the rubric names the dimension ${someOf([name])} twice`);
    names.add(name);
  }
  const [low, high] = Array.isArray(range) && range.length === 2 ? range : [];
  if (!(Number.isFinite(low) && Number.isFinite(high) && low < high)) throw bad('needs a range of two numbers, the lower first');
  return { dimensions: dimensions as Dimension[], range: [low, high] };
}

/** The dimensions that a response to a prompt of this data set and category is scored in. */
export function applicable(
  { dimensions }: CheckedRubric,
  { dataset, category }: { dataset?: string | undefined; category?: string | undefined },
) {
  const fits = (wanted: string | undefined, given: string | undefined) => wanted === undefined || wanted === given;
  return dimensions.filter((dimension) => fits(dimension.dataset, dataset) && fits(dimension.category, category));
}
