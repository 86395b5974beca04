/** From judgements of responses to scores of experts. */
import { agreementOf } from './agreement.js';
import type { ExpertResponse } from './responses.js';
import type { CheckedRubric, Dimension } from './rubric.js';

/** A judgement's scores, 0–1, in the order of its dimensions; undefined where it could not be had. */
export interface Judgement {
  response: number;
  dimensions: readonly Dimension[];
  scores: readonly number[] | undefined;
}

export function tableOf(responses: readonly ExpertResponse[], judgements: readonly Judgement[], rubric: CheckedRubric) {
  const experts = [...new Set(responses.map(({ expert }) => expert))];
  const places = new Map(experts.map((expert, e) => [expert, e]));
  const width = rubric.dimensions.length;
  /** [dimension][response]: its judgements */
  const units = rubric.dimensions.map(() => new Map<number, number[]>());
  for (const { response, dimensions, scores } of judgements) {
    for (const [at, dimension] of dimensions.entries()) {
      const score = scores?.[at];
      if (score === undefined) continue;
      const unit = units[rubric.dimensions.indexOf(dimension)] as Map<number, number[]>;
      unit.set(response, [...(unit.get(response) ?? []), score]);
    }
  }
  const table = {
    dimensions: rubric.dimensions.map(({ name }) => name),
    experts,
    scores: new Float32Array(experts.length * width).fill(Number.NaN),
  };
  const counts = new Uint32Array(experts.length * width);
  const spread = new Float32Array(experts.length * width).fill(Number.NaN);
  for (const [d, unit] of units.entries()) {
    const byExpert = experts.map((): number[] => []);
    for (const [response, judgements] of unit) {
      byExpert[places.get((responses[response] as ExpertResponse).expert) as number]?.push(meanOf(judgements));
    }
    for (const [e, means] of byExpert.entries()) {
      const cell = e * width + d;
      counts[cell] = means.length;
      if (means.length === 0) continue;
      const mean = meanOf(means);
      table.scores[cell] = mean;
      if (means.length > 1) spread[cell] = Math.sqrt(means.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (means.length - 1));
    }
  }
  const agreement = units.map((unit, d) => agreementOf((rubric.dimensions[d] as Dimension).name, [...unit.values()]));
  return { table, counts, spread, agreement };
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
