/** What `evaluate` measures besides routing by a fresh model: scores as content, hidden cells, new experts, going on online. */
import { PointsmanError } from '../errors.js';
import type {
  CellsEvaluation,
  ColdEvaluation,
  Estimate,
  GoingOn,
  OnlineEvaluation,
  PredictorFit,
  RoutingPolicy,
} from '../evaluate/index.js';
import { completeCells, type LearnedModel, learn, OnlineLearner } from '../learn/index.js';
import { Router } from '../route/index.js';
import type { Attributes, Encoder, Interaction, OutcomeTable } from '../types.js';
import { table } from './describe.js';

export const restrict = (known: Attributes, names: readonly string[]): Attributes =>
  Object.fromEntries(Object.entries(known).filter(([name]) => names.includes(name)));

/** Routes by the best of a router, with the attributes that its model knows. */
export function greedy(router: Router): RoutingPolicy {
  return async (conversations, { attributes, signal }) => {
    const known = attributes.map((each) => restrict(each, router.attributeNames));
    const decisions = await router.route(conversations, { k: 1, objective: { score: 1 }, attributes: known, signal });
    return decisions.map(({ expert }) => [{ expert, probability: 1 }]);
  };
}

export const fitPredictor =
  (attributes: readonly string[] | undefined, encoder: Encoder | undefined): PredictorFit =>
  async (training, content, options) => {
    const model = await learn(training, { ...options, content, attributes, encoder, beliefs: false });
    return async (conversations, experts, { attributes: all, signal }) => {
      const known = all.map((each) => restrict(each, model.attributeNames));
      const psi = model.withAttributes(await model.encoder.encode(conversations, { signal }), known);
      return predictions(model, psi, experts);
    };
  };

function predictions(model: LearnedModel, psi: Float32Array, experts: readonly string[]): Float64Array {
  const { ids, vectors, dimensions } = model.expertVectors();
  const p = model.dimensionNames.length;
  const queries = model.queryVectors(psi, { score: 1 });
  const places = experts.map((expert) => ids.indexOf(expert));
  return Float64Array.from({ length: (psi.length / p) * experts.length }, (_, n) => {
    const i = Math.floor(n / experts.length);
    const at = (places[n % experts.length] as number) * dimensions;
    let advantage = 0;
    for (let j = 0; j < dimensions; j++) advantage += (queries[i * dimensions + j] as number) * (vectors[at + j] as number);
    return model.readOut('score', psi.subarray(i * p, (i + 1) * p), advantage);
  });
}

export const fillCells = (
  known: Parameters<typeof completeCells>[0],
  wanted: Parameters<typeof completeCells>[1],
  options: { seed: number; additive: boolean },
): Float64Array => completeCells(known, wanted, options).probability;

export const goOn =
  (attributes: readonly string[] | undefined, encoder: Encoder | undefined, growth: number | undefined): GoingOn =>
  async (first, options) => {
    const settings = { ...options, attributes, encoder };
    const learner = await OnlineLearner.start(await learn(first, settings), { signal: options.signal });
    return {
      policy: greedy(await Router.from(learner)),
      async update(outcomes, newcomers, all) {
        for (const expert of newcomers) await learner.add(expert);
        await learner.update(interactionsOf(outcomes, learner.model.attributeNames));
        const due = growth !== undefined && learner.due(growth);
        if (due) await learner.refit(all, settings);
        return { learnedAnew: due };
      },
    };
  };

function interactionsOf(
  { conversations, experts, conversation, expert, metrics, category, attributes }: OutcomeTable,
  names: readonly string[],
): Interaction[] {
  return Array.from(conversation, (c, n) => {
    const own = category?.[c] ? { category: category[c] as string, ...attributes?.[c] } : (attributes?.[c] ?? {});
    const score = metrics.score?.[n];
    if (score === undefined) throw new PointsmanError('BAD_DATA', 'this protocol needs outcomes of score');
    return {
      conversation: conversations[c] ?? [],
      attributes: restrict(own, names),
      expert: experts[expert[n] as number] as string,
      score,
    };
  });
}

const span = ({ mean, low, high }: Estimate) => [mean.toFixed(4), `[${low.toFixed(4)}, ${high.toFixed(4)}]`];

export function describeCold({ protocol, conversations, experts, heldOutExperts, logLoss, gain, share }: ColdEvaluation): string {
  return `${protocol}; ${heldOutExperts} of ${experts} experts, ${conversations} prompts\n\n${table([
    ['log-loss', 'mean', '95% interval'],
    ['population mean', ...span(logLoss.population)],
    ['score table', ...span(logLoss.scores)],
    ['all outcomes', ...span(logLoss.outcomes)],
    ['population − table', ...span(gain)],
    ['share of the way', ...span(share)],
  ])}`;
}

export function describeCells({ protocol, conversations, experts, hidden, logLoss, auc }: CellsEvaluation): string {
  const rows = ([name, of]: [string, CellsEvaluation['auc']]) => [
    [`${name}, expert + prompt`, ...span(of.additive)],
    [`${name}, with interactions`, ...span(of.model)],
    [`${name}, gain`, ...span(of.gain)],
  ];
  return `${protocol}; ${hidden} cells of ${experts} experts × ${conversations} prompts\n\n${table([
    ['', 'mean', '95% interval'],
    ...rows(['log-loss', logLoss]),
    ...rows(['AUC', auc]),
  ])}`;
}

export function describeOnline({ protocol, curve, worst, regret, conversations }: OnlineEvaluation): string {
  const percent = (share: number) => `${(100 * share).toFixed(2)}%`;
  const rows = curve.map(({ outcomes, experts, online, retrained, oracle, difference: { mean, low, high }, learnedAnew }) => [
    String(outcomes),
    String(experts),
    ...[online, retrained, oracle].map((value) => value.toFixed(4)),
    percent(mean),
    `[${percent(low)}, ${percent(high)}]`,
    learnedAnew > 0 ? `${(100 * learnedAnew).toFixed(0)}%` : '',
  ]);
  return `${protocol}; ${conversations} held-out prompts\n\n${table([
    ['outcomes', 'experts', 'online', 'retrained', 'oracle', 'difference', '95% interval', 'learned anew'],
    ...rows,
  ])}\n\nfurthest behind: ${percent(worst)}; regret over the curve: ${percent(regret)} more`;
}
