/**
 * Learning with content features: named dimensions from a score table, and what outcomes say beyond them.
 *
 * With x̃ a conversation's leading text coordinates (of spread σ), attributes and the constant, s_m an expert's scores, standardised,
 *
 *     advantage of m on C = Σ_d s_md · ⟨B_d, x̃⟩ + ⟨δ_m, x̃⟩
 *
 * so the conversation's projection on the named dimension d is ψ_d(C) = ⟨B_d, x̃⟩ and the expert's component is its score; δ_m, its
 * own part, is 0 for an expert without outcomes. B, the variances and every δ_m: native/train/hierarchical.hpp. Scores enter φ as
 * they stand in the table; what that adds to everybody's prediction is taken off the expected outcome. With an encoder of the user's x̃ may
 * be of its vectors (corpus.ts) in place of the text.
 */
import { PointsmanError, someOf } from '../errors.js';
import type { OutcomeTable, ScoreTable } from '../types.js';
import type { HierarchicalProblem, Hierarchy, Posteriors } from './addon.js';
import { attributeNames } from './attributes.js';
import { type Content, type ContentParameters, contentParameters, contentRows } from './content.js';
import { type Corpus, seenIn, type View, type ViewFactors, viewsOf } from './corpus.js';
import { ahead, headStarts, meanAdvantages } from './head-start.js';
import { type Design, fitHierarchies, fitPosteriors, heldOutAdvantages, problemsOf, rankOf } from './hierarchy.js';
import type { Work } from './learn.js';
import type { MetricObservations } from './observations.js';
import { choose, worth } from './select.js';
import { type Advantages, advantages, type Fitted, fitExpected } from './stages.js';

/** Leading directions of a view that an expert may differ in, where held-out outcomes do not say that it is better not to look. */
const TEXT_DIMENSIONS = 64;

export interface HybridFit extends Fitted {
  experts: string[];
  names: string[];
  /** The named dimensions come first; they keep their scale. */
  kept: number;
  /** What the named dimensions begin with. */
  offset: number[];
  content: { parameters: ContentParameters; rows: Content[] };
  hierarchies: Hierarchy[];
  posteriors: Posteriors[];
}

export async function fitHybrid(
  table: OutcomeTable,
  scores: ScoreTable,
  metrics: readonly MetricObservations[],
  biasPriors: readonly number[],
  corpus: Corpus,
  fold: Uint32Array,
  work: Work,
): Promise<HybridFit> {
  const known = new Set(table.experts);
  if (!scores.experts.some((expert) => known.has(expert))) {
    throw new PointsmanError(
      'NOT_ENOUGH_DATA',
      `no expert of the score table (${someOf(scores.experts)}) has an outcome; the outcomes are of ${someOf(table.experts)}`,
    );
  }
  const experts = [...table.experts, ...scores.experts.filter((expert) => !known.has(expert))];
  const parameters = contentParameters(scores);
  const rows = contentRows(parameters, scores, experts);
  const expected = await fitExpected(metrics, biasPriors, table.experts.length, corpus, fold, work);
  const found = advantages(metrics, table.experts.length, expected.taken);
  const bonus = ahead(metrics, table.experts.length, meanAdvantages(metrics.length * table.experts.length, found));
  const candidates: Candidate[] = [];
  const looks = viewsOf(corpus).map((view) => ({ view, text: Math.min(TEXT_DIMENSIONS, view.spectral) }));
  for (const { view, text } of [{ view: corpus.text, text: 0 }, ...looks]) {
    const design = designOf(view, parameters, rows, fold.length, text);
    const problems = problemsOf(design, metrics, found);
    const hierarchies = await fitHierarchies(design, metrics, problems, work);
    const heldOut = await heldOutAdvantages(problems, hierarchies, fold, work);
    candidates.push({ view, design, problems, hierarchies, ...chooseHeadStart(metrics, found, heldOut, bonus) });
  }
  const chosen = choose(candidates.map((each) => each.worths));
  const { view, design, problems, hierarchies, headStart, predictions } = candidates[chosen] as Candidate;
  const posteriors = await fitPosteriors(problems, hierarchies, rankOf(design.dimensions + 1), work);
  for (const [r, { mean }] of posteriors.entries()) {
    const n = design.dimensions + 1;
    const deviation = Math.sqrt((hierarchies[r] as Hierarchy).variance[n - 1] as number);
    for (let m = 0; m < table.experts.length; m++) {
      const extra = bonus(r * table.experts.length + m, headStart);
      if (extra !== 0) mean[m * n + n - 1] = (mean[m * n + n - 1] as number) + extra / deviation;
    }
  }
  const parts = assembleParts(view, corpus, design, metrics, parameters, rows, expected.factors, hierarchies, posteriors);
  return {
    ...parts,
    experts,
    content: { parameters, rows },
    hierarchies,
    posteriors,
    penalty: Math.max(...hierarchies.map(({ penalty }) => penalty)),
    predictions: predictions.map((advantage, e) => advantage + (expected.heldOut[e] as number)),
    advantages: found,
  };
}

/** A model, and what its picks earned on held-out conversations. */
interface Candidate {
  view: View;
  design: Design;
  problems: HierarchicalProblem[];
  hierarchies: Hierarchy[];
  headStart: number;
  predictions: Float32Array;
  worths: Float64Array;
}

/** The head start whose picks earned most. */
function chooseHeadStart(
  metrics: readonly MetricObservations[],
  { output, target }: Advantages,
  heldOut: Float32Array,
  bonus: (output: number, headStart: number) => number,
) {
  const judged = headStarts(metrics).map((headStart) => {
    const predictions = heldOut.map((value, e) => value + bonus(output[e] as number, headStart));
    const worths = worth(metrics, target, predictions);
    return { headStart, predictions, worths, sum: worths.reduce((sum, each) => sum + each, 0) };
  });
  return judged.reduce((best, each) => (each.sum > best.sum ? each : best));
}

function designOf(view: View, { mean, deviation }: ContentParameters, rows: readonly Content[], count: number, text: number): Design {
  const extra = view.dimensions - view.spectral;
  const dimensions = text + extra;
  const coordinates = new Float32Array(count * dimensions);
  for (let i = 0; i < count; i++) {
    for (let j = 0; j < dimensions; j++) {
      const { from, spread } = source(view, text, j);
      coordinates[i * dimensions + j] = (view.coordinates[i * view.dimensions + from] as number) / spread;
    }
  }
  const width = mean.length + 1;
  const features = new Float32Array(rows.length * width).fill(1);
  for (const [m, { scores }] of rows.entries()) {
    for (const [d, score] of scores.entries()) features[m * width + d] = (score - (mean[d] as number)) / (deviation[d] as number);
  }
  // Text, attributes, and the constant, as far as they are there.
  const attributes = text > 0 ? 1 : 0;
  const constant = extra > 0 ? attributes + 1 : attributes;
  const group = Uint32Array.from({ length: dimensions + 1 }, (_, j) => (j < text ? 0 : j < dimensions ? attributes : constant));
  return { coordinates, rows: count, dimensions, group, experts: rows.length, features, width };
}

/** Where coordinate j comes from in the corpus, and what it was divided by: the text's have spread σ here, not σ². */
function source(view: View, text: number, j: number): { from: number; spread: number } {
  if (j >= text) return { from: view.spectral + j - text, spread: 1 };
  return { from: j, spread: Math.sqrt(view.eigenvalues[j] as number) };
}

/** The model on the view's coordinates: named dimensions for each metric, then the experts' own. */
function assembleParts(
  view: View,
  { text: ofText, attributes }: Corpus,
  design: Design,
  metrics: readonly MetricObservations[],
  { dimensions: names, mean, deviation }: ContentParameters,
  rows: readonly Content[],
  expected: ViewFactors,
  hierarchies: readonly Hierarchy[],
  posteriors: readonly Posteriors[],
) {
  const [D, R, own] = [names.length, metrics.length, design.dimensions];
  const text = own - (view.dimensions - view.spectral);
  const n = own + 1;
  const rank = R * D + own;
  const width = D + 1;
  const offset = new Array<number>(rank).fill(0);
  const projection = new Float32Array(view.dimensions * rank);
  // Of the population itself, less what scores in their own units add to everybody: it goes to the expected outcome.
  const shared = new Float32Array(view.dimensions * R);
  const constant = expected.bias.slice();
  for (const [r, { map }] of hierarchies.entries()) {
    for (let j = 0; j <= own; j++) {
      const b = (d: number) => (map[j * width + d] as number) / (deviation[d] as number);
      let common = map[j * width + D] as number;
      for (let d = 0; d < D; d++) common -= b(d) * (mean[d] as number);
      if (j === own) {
        for (let d = 0; d < D; d++) offset[r * D + d] = b(d);
        constant[r] = (constant[r] as number) + common;
        continue;
      }
      const { from, spread } = source(view, text, j);
      for (let d = 0; d < D; d++) projection[from * rank + r * D + d] = b(d) / spread;
      shared[from * R + r] = common / spread;
    }
  }
  for (let j = 0; j < own; j++) {
    const { from, spread } = source(view, text, j);
    projection[from * rank + R * D + j] = 1 / spread;
  }
  const vectors = new Float32Array(R * rows.length * rank);
  const bias = new Float32Array(R * rows.length);
  for (let r = 0; r < R; r++) {
    const { variance } = hierarchies[r] as Hierarchy;
    for (const [m, { scores }] of rows.entries()) {
      const o = r * rows.length + m;
      for (let d = 0; d < D; d++) vectors[o * rank + r * D + d] = scores[d] as number;
      const delta = (j: number) => Math.sqrt(variance[j] as number) * (posteriors[r]?.mean[m * n + j] as number);
      for (let j = 0; j < own; j++) vectors[o * rank + R * D + j] = delta(j);
      bias[o] = delta(own);
    }
  }
  const factors: ViewFactors = seenIn(view, { rank, bias, vectors, projection });
  const named = metrics.flatMap(({ metric }) => names.map((name) => (R === 1 ? name : `${name} (${metric.name})`)));
  return {
    factors,
    expected: { ...expected, bias: constant, parts: [...expected.parts, { view, projection: shared }] },
    rank,
    kept: R * D,
    offset,
    names: [
      ...named,
      ...Array.from({ length: text }, (_, j) => `${view === ofText ? 'text' : 'encoder'} ${j + 1}`),
      ...attributeNames(attributes),
    ],
  };
}
