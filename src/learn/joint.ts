/**
 * Learning from logs of few experts: expected outcomes and advantages in one regression for each metric
 * (native/train/joint.hpp), for where one expert answered there is nothing to centre an outcome by.
 *
 * It sees coordinates of spread σ, not σ² (native/train/spectral.hpp): a filter of σ²/(σ² + l²). A log tells each
 * expert of a part of the conversations only, and evidence finds the experts' differences spread over many directions. Evidence also
 * chooses the view (corpus.ts).
 */
import { run } from '../native.js';
import { type JointModel, learnAddon, type Problem } from './addon.js';
import { type Corpus, type View, viewsOf } from './corpus.js';
import type { Work } from './learn.js';
import type { MetricObservations } from './observations.js';
import type { Fitted } from './stages.js';

/** l², in units of the corpus's σ². */
const SHARED_PENALTIES = [2.5, 4, 6, 9].map(Math.sqrt);
const SPECIFIC_PENALTIES = [2.5, 4, 6, 9, 13, 20].map(Math.sqrt);
/** So strong that of an expert only its bias is left. */
const BIASES_ALONE = 1e4;
/** Of a logarithm of a Bayes factor (Kass and Raftery 1995): less, and routing stays with the biases alone. */
const VERY_STRONG = 5;

export async function fitJointly(
  metrics: readonly MetricObservations[],
  biasPriors: readonly number[],
  experts: number,
  corpus: Corpus,
  fold: Uint32Array,
  work: Work,
): Promise<Fitted> {
  const fits: ViewFit[] = [];
  for (const view of viewsOf(corpus)) fits.push(await fitView(view, metrics, biasPriors, experts, work));
  const { view, problems, spread, biases, full } = fits.reduce((best, each) => (each.full.evidence > best.full.evidence ? each : best));
  const { dimensions } = view;
  const { threads, tasks } = work;
  const rank = full.evidence - biases.evidence > VERY_STRONG ? metrics.length * experts : 0;
  const { specific, models: chosen } = rank > 0 ? full : biases;
  const predictions: number[] = [];
  for (const [r, problem] of problems.entries()) {
    const { sharedPenalty, specificPenalty } = chosen[r] as JointModel;
    const settings = {
      shared: [sharedPenalty],
      specific: specific.filter((l) => l >= specificPenalty),
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
  const outputs = metrics.length * experts;
  const factors = {
    view,
    rank,
    bias: Float32Array.from({ length: outputs }, (_, o) => modelOf(chosen, o, experts).bias[o % experts] as number),
    vectors: Float32Array.from({ length: outputs * rank }, (_, i) => (i % (rank + 1) === 0 ? 1 : 0)),
    // From coordinates of spread σ to those of spread σ².
    projection: Float32Array.from({ length: dimensions * rank }, (_, i) => {
      const k = Math.floor(i / rank);
      const o = i % rank;
      return (modelOf(chosen, o, experts).projection[k * experts + (o % experts)] as number) / (spread[k] as number);
    }),
  };
  const expected = {
    view,
    rank: metrics.length,
    bias: Float32Array.from(chosen, ({ shared }) => shared[dimensions] as number),
    vectors: new Float32Array(0),
    projection: Float32Array.from({ length: dimensions * metrics.length }, (_, i) => {
      const k = Math.floor(i / metrics.length);
      return ((chosen[i % metrics.length] as JointModel).shared[k] as number) / (spread[k] as number);
    }),
  };
  const penalty = Math.max(...chosen.map(({ specificPenalty }) => specificPenalty));
  const advantages = {
    row: concatenated(metrics.map(({ conversation }) => conversation)),
    output: concatenated(metrics.map(({ expert }, r) => expert.map((m) => r * experts + m))),
    target: Float32Array.from(metrics.flatMap((_, r) => beyond(problems[r] as Problem, chosen[r] as JointModel))),
  };
  return { expected: [expected], factors, rank, penalty, predictions: Float32Array.from(predictions), advantages };
}

/** What is fitted of every metric on one view's coordinates. */
interface ViewFit {
  view: View;
  problems: Problem[];
  /** What the view's coordinates are divided by. */
  spread: Float64Array;
  biases: Joint;
  full: Joint;
}

interface Joint {
  specific: number[];
  models: JointModel[];
  evidence: number;
}

async function fitView(
  view: View,
  metrics: readonly MetricObservations[],
  biasPriors: readonly number[],
  experts: number,
  { threads, tasks }: Work,
): Promise<ViewFit> {
  const { dimensions, spectral, eigenvalues } = view;
  const spread = Float64Array.from({ length: dimensions }, (_, k) => (k < spectral ? Math.sqrt(eigenvalues[k] as number) : 1));
  const coordinates = view.coordinates.map((z, i) => z / (spread[i % dimensions] as number));
  const problems = metrics.map(
    ({ conversation, expert, value }): Problem => ({
      coordinates,
      rows: view.rows.starts.length - 1,
      dimensions,
      row: conversation,
      output: expert,
      target: value,
      outputs: experts,
    }),
  );
  const fit = async (specific: number[], name: string): Promise<Joint> => {
    const models: JointModel[] = [];
    for (const [r, problem] of problems.entries()) {
      const settings = { shared: SHARED_PENALTIES, specific, biasPrior: biasPriors[r] as number };
      models.push(await run(() => learnAddon().fitJoint(problem, settings, threads), `${name}, ${metrics[r]?.metric.name}`, tasks));
    }
    return { specific, models, evidence: models.reduce((sum, { evidence }) => sum + evidence, 0) };
  };
  return { view, problems, spread, biases: await fit([BIASES_ALONE], 'biases alone'), full: await fit(SPECIFIC_PENALTIES, 'full rank') };
}

/** Outcomes less the conversation's expected one. */
function beyond({ coordinates, dimensions, row, target }: Problem, { shared }: JointModel): number[] {
  return Array.from(row, (i, e) => {
    let rest = (target[e] as number) - (shared[dimensions] as number);
    for (let k = 0; k < dimensions; k++) rest -= (coordinates[i * dimensions + k] as number) * (shared[k] as number);
    return rest;
  });
}

function concatenated(lists: readonly Uint32Array[]): Uint32Array {
  return Uint32Array.from(lists.flatMap((list) => Array.from(list)));
}

function modelOf(models: readonly JointModel[], output: number, experts: number): JointModel {
  return models[Math.floor(output / experts)] as JointModel;
}
