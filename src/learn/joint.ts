/**
 * Learning from logs of few experts: expected outcomes and advantages in one regression for each metric
 * (native/train/joint.hpp), for where one expert answered there is nothing to centre an outcome by.
 *
 * It sees coordinates of spread σ, not σ² (native/train/spectral.hpp): a filter of σ²/(σ² + l²). A log tells each
 * expert of a part of the conversations only, and evidence finds the experts' differences spread over many directions.
 *
 * With an encoder of the user's there is a regression for each view (corpus.ts) of the experts' parts, what is expected of a conversation
 * being in the view that evidence prefers, and the model is the mean of those that say more than biases alone: the better predictor
 * of outcomes is not always the better judge of experts, so nothing is chosen between them.
 */
import { run } from '../native.js';
import { type JointModel, type JointProblem, learnAddon } from './addon.js';
import { type Corpus, type View, type ViewFactors, viewsOf } from './corpus.js';
import type { Work } from './learn.js';
import type { MetricObservations } from './observations.js';
import { advantages, type Fitted } from './stages.js';

/** l², in units of the corpus's σ². */
const SHARED_PENALTIES = [2.5, 4, 6, 9].map(Math.sqrt);
const SPECIFIC_PENALTIES = [2.5, 4, 6, 9, 13, 20].map(Math.sqrt);
/** So strong that of an expert only its bias is left. */
const BIASES_ALONE = 1e4;
/** Of a logarithm of a Bayes factor (Kass and Raftery 1995): less, and routing stays with the biases alone, what is expected with the text. */
const VERY_STRONG = 5;

export async function fitJointly(
  metrics: readonly MetricObservations[],
  biasPriors: readonly number[],
  experts: number,
  corpus: Corpus,
  fold: Uint32Array,
  work: Work,
): Promise<Fitted> {
  const seen = viewsOf(corpus).map(spreadOut);
  const candidates = async (specific: Seen, penalties: number[], name: string) => {
    const fits: Joint[] = [];
    for (const shared of seen) fits.push(await fit(metrics, biasPriors, experts, shared, specific, penalties, name, work));
    return mostEvident(fits);
  };
  // Of a penalty so strong nothing but the biases is left, whatever is seen.
  const biases = await candidates(seen[0] as Seen, [BIASES_ALONE], 'biases alone');
  const full: Joint[] = [];
  for (const specific of seen) full.push(await candidates(specific, SPECIFIC_PENALTIES, 'full rank'));
  const convincing = full.filter(({ evidence }) => evidence - biases.evidence > VERY_STRONG);
  const rank = convincing.length > 0 ? metrics.length * experts : 0;
  const members = rank > 0 ? convincing : [biases];
  const heldOut: Float32Array[] = [];
  for (const member of members) heldOut.push(await heldOutOf(member, metrics, biasPriors, fold, work));
  const mean = (of: (model: JointModel) => number, r: number) =>
    members.reduce((sum, { models }) => sum + of(models[r] as JointModel), 0) / members.length;
  const outputs = metrics.length * experts;
  const metricOf = (output: number) => Math.floor(output / experts);
  const factors: ViewFactors = {
    rank,
    bias: Float32Array.from({ length: outputs }, (_, o) => mean(({ bias }) => bias[o % experts] as number, metricOf(o))),
    vectors: Float32Array.from({ length: outputs * rank }, (_, i) => (i % (rank + 1) === 0 ? 1 : 0)),
    parts: members.map(({ specific, models }) => {
      const columns = (o: number) => (models[metricOf(o)] as JointModel).projection;
      const value = (k: number, o: number) => (columns(o)[k * experts + (o % experts)] as number) / members.length;
      return { view: specific.view, projection: projected(specific, rank, value) };
    }),
  };
  const expected: ViewFactors = {
    rank: metrics.length,
    bias: Float32Array.from(metrics, (_, r) => mean(({ shared }) => shared.at(-1) as number, r)),
    vectors: new Float32Array(0),
    parts: members.map(({ shared, models }) => {
      const value = (k: number, r: number) => ((models[r] as JointModel).shared[k] as number) / members.length;
      return { view: shared.view, projection: projected(shared, metrics.length, value) };
    }),
  };
  return {
    expected,
    factors,
    rank,
    penalty: Math.max(...members.flatMap(({ models }) => models.map(({ specificPenalty }) => specificPenalty))),
    predictions: Float32Array.from(
      heldOut[0] as Float32Array,
      (_, e) => heldOut.reduce((sum, each) => sum + (each[e] as number), 0) / heldOut.length,
    ),
    advantages: advantages(
      metrics,
      experts,
      metrics.map((_, r) => expectedOf(expected, r, fold.length)),
    ),
  };
}

/** A view whose coordinates have spread σ. */
interface Seen {
  view: View;
  /** What the view's coordinates were divided by. */
  spread: Float64Array;
  coordinates: Float32Array;
}

function spreadOut(view: View): Seen {
  const { dimensions, spectral, eigenvalues } = view;
  const spread = Float64Array.from({ length: dimensions }, (_, k) => (k < spectral ? Math.sqrt(eigenvalues[k] as number) : 1));
  return { view, spread, coordinates: view.coordinates.map((z, i) => z / (spread[i % dimensions] as number)) };
}

/** One model a metric. */
interface Joint {
  shared: Seen;
  specific: Seen;
  penalties: number[];
  problems: JointProblem[];
  models: JointModel[];
  evidence: number;
}

async function fit(
  metrics: readonly MetricObservations[],
  biasPriors: readonly number[],
  experts: number,
  shared: Seen,
  specific: Seen,
  penalties: number[],
  name: string,
  { threads, tasks }: Work,
): Promise<Joint> {
  const problems: JointProblem[] = [];
  const models: JointModel[] = [];
  for (const [r, { metric, conversation, expert, value }] of metrics.entries()) {
    const problem = {
      coordinates: specific.coordinates,
      rows: specific.view.rows.starts.length - 1,
      dimensions: specific.view.dimensions,
      ...(shared !== specific && { shared: shared.coordinates, sharedDimensions: shared.view.dimensions }),
      row: conversation,
      output: expert,
      target: value,
      outputs: experts,
    };
    const settings = { shared: SHARED_PENALTIES, specific: penalties, biasPrior: biasPriors[r] as number };
    problems.push(problem);
    models.push(await run(() => learnAddon().fitJoint(problem, settings, threads), `${name}, ${metric.name}`, tasks));
  }
  return { shared, specific, penalties, problems, models, evidence: models.reduce((sum, { evidence }) => sum + evidence, 0) };
}

/** The text's, which is the first, unless the evidence for another is very strong. */
function mostEvident(fits: readonly Joint[]): Joint {
  const best = fits.reduce((most, each) => (each.evidence > most.evidence ? each : most));
  const text = fits[0] as Joint;
  return best.evidence - text.evidence > VERY_STRONG ? best : text;
}

/** Of every outcome, metric by metric, what models predict that did not see its conversation's fold. */
async function heldOutOf(
  { penalties, problems, models }: Joint,
  metrics: readonly MetricObservations[],
  biasPriors: readonly number[],
  fold: Uint32Array,
  { threads, tasks }: Work,
): Promise<Float32Array> {
  const predictions: number[] = [];
  for (const [r, problem] of problems.entries()) {
    const { sharedPenalty, specificPenalty } = models[r] as JointModel;
    const settings = {
      shared: [sharedPenalty],
      specific: penalties.filter((l) => l >= specificPenalty),
      biasPrior: biasPriors[r] as number,
    };
    const parts = await run(
      (listener) => learnAddon().heldOutJoint(problem, fold, settings, threads, listener),
      `held out, ${metrics[r]?.metric.name}`,
      tasks,
    );
    const count = problem.row.length;
    for (let e = 0; e < count; e++) predictions.push((parts[e] as number) + (parts[count + e] as number));
  }
  return Float32Array.from(predictions);
}

/** A projection for the view's own coordinates, of spread σ², from one of coordinates of spread σ. */
function projected({ view, spread }: Seen, columns: number, value: (k: number, column: number) => number): Float32Array {
  return Float32Array.from({ length: view.dimensions * columns }, (_, i) => {
    const k = Math.floor(i / columns);
    return value(k, i % columns) / (spread[k] as number);
  });
}

/** Of every conversation, what is expected of it in the r-th metric. */
function expectedOf({ rank, bias, parts }: ViewFactors, r: number, conversations: number): Float32Array {
  return Float32Array.from({ length: conversations }, (_, i) => {
    let sum = bias[r] as number;
    for (const { view, projection } of parts) {
      const { dimensions, coordinates } = view;
      for (let k = 0; k < dimensions; k++) sum += (coordinates[i * dimensions + k] as number) * (projection[k * rank + r] as number);
    }
    return sum;
  });
}
