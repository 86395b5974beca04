/** `pointsman evaluate`: how well would a model learned from this data route? */

import { plural } from '../errors.js';
import {
  categoryMeans,
  crossValidate,
  type Estimate,
  evaluateCells,
  evaluateCold,
  evaluateLog,
  evaluateOnline,
  type Fit,
  type LogEvaluation,
  type MatrixEvaluation,
  trainTest,
} from '../evaluate/index.js';
import { learn, learnFromScores, readScoreTable } from '../learn/index.js';
import { Router } from '../route/index.js';
import type { Encoder, MetricName, OutcomeTable } from '../types.js';
import {
  type Command,
  type Context,
  exploring,
  integer,
  nameList,
  noArguments,
  number,
  type Outcome,
  objective,
  oneOf,
  required,
  text,
  usage,
  type Values,
} from './command.js';
import { FORMATS, readData } from './data.js';
import { table } from './describe.js';
import { ENCODER, encoderOf, remembering } from './encoder.js';
import { evaluateRanking, RANKING_OPTIONS } from './evaluate-ranking.js';
import { describeCells, describeCold, describeOnline, fillCells, fitPredictor, goOn, restrict } from './predict.js';

const PROTOCOLS = ['cv', 'split', 'log', 'offpolicy', 'leave-one-out', 'cells', 'cold', 'online'] as const;
const METRICS = ['score', 'rating', 'retry', 'length'] as const;

export const evaluate: Command = {
  name: 'evaluate',
  summary: 'measures routing on data against random, the best single expert and the per-prompt oracle',
  usage: '--data PATH [options]',
  details:
    'Protocols:\n' +
    '  cv         cross-validation by prompt on an outcome matrix; near-duplicate groups stay in one fold\n' +
    '  split      learns from the split --train, tests on --test, macro mean over categories\n' +
    "  log        like cv (or, with --by split, like split), but learns from one random expert's outcome per\n" +
    '             prompt, another draw for each seed; the truth on the test part stays the matrix\n' +
    '  offpolicy  for a log with propensities: IPS and SNIPS estimates with effective sample sizes\n' +
    '  leave-one-out  HR@10 and NDCG@10 of factorise: a folder with train.txt (a line a user: user item item …) and\n' +
    '             test.txt (user, the held-out item, the others to rank it among)\n' +
    '  cells      a matrix: 30% of the cells hidden, predicted from the rest\n' +
    '  cold       a matrix with categories: a fifth of the experts known only by their category means on half the prompts\n' +
    '  online     a matrix: experts join one by one, outcomes stream; beside learning anew after every 1,000 outcomes\n' +
    'Default: cv for a matrix, offpolicy for a log. Every setting of the learner is chosen inside the training part.\n' +
    'Intervals are 95%, by bootstrap over groups of prompts; the gain over the best single expert is paired.\n\n' +
    FORMATS,
  example: 'pointsman evaluate --data my-matrix --protocol cv --folds 5 --seeds 5',
  options: {
    data: { type: 'string', value: 'PATH', help: 'a folder with prompts.jsonl and scores.csv, or a log in JSON lines (.gz too)' },
    protocol: { type: 'string', value: 'NAME', help: PROTOCOLS.join(', ') },
    by: { type: 'string', value: 'NAME', help: 'log: cv or split (default cv)' },
    folds: { type: 'string', value: 'N', help: 'cv, offpolicy: folds (default 5)' },
    seeds: { type: 'string', value: 'N', help: 'seeds 0 … N−1: folds, draws, fits (default 5; split and offpolicy: 1)' },
    train: { type: 'string', value: 'NAME', help: 'split: the part to learn from (default train)' },
    test: { type: 'string', value: 'NAME', help: 'split: the part to test on (default test)' },
    metric: { type: 'string', value: 'NAME', help: `the outcome that counts: ${METRICS.join(', ')} (default: score, or the log's first)` },
    objective: {
      type: 'string',
      value: 'WEIGHTS',
      help: 'what the router maximises (default: the metric, or for a log its default objective)',
    },
    explore: { type: 'string', value: 'HOW', help: "evaluate the router with this exploration: an ε, or 'thompson'" },
    growth: {
      type: 'string',
      value: 'N',
      help: "online: learn anew when outcomes have grown N times (default 1.5; 'none': never)",
    },
    among: { type: 'string', value: 'N', help: 'how many of the best take part in exploring (default 5)' },
    attributes: {
      type: 'string',
      value: 'NAMES',
      help: 'what is known of a conversation besides its text: a,b (category: that of a matrix)',
    },
    scores: {
      type: 'string',
      value: 'FILE',
      help: "a score table (CSV) as content; 'category-means' takes the training part's own, as a judge's table would give them",
    },
    'without-outcomes': { type: 'boolean', help: 'cv: route by --scores alone, the category naming the dimension' },
    encoder: ENCODER,
    replicates: { type: 'string', value: 'N', help: 'resamples of the bootstrap (default 2000)' },
    ...RANKING_OPTIONS,
  },
  async run(values, positionals, context) {
    noArguments(positionals);
    refuseUseless(values);
    const encoder = await encoderOf(values, context);
    try {
      const outcome = await measure(values, encoder && remembering(encoder), context);
      return { ...outcome, json: { ...(encoder && { encoder: encoder.id }), ...(outcome.json as object) } };
    } finally {
      await encoder?.close();
    }
  },
};

/** @throws PointsmanError USAGE */
function refuseUseless(values: Values): void {
  const encoder = text(values, 'encoder') !== undefined;
  const protocol = oneOf(values, 'protocol', PROTOCOLS);
  if (encoder && (protocol === 'cells' || protocol === 'leave-one-out'))
    throw usage(`${protocol} reads no conversations: it takes no --encoder`);
  if (encoder && values['without-outcomes'] === true) throw usage('--without-outcomes routes by the category: it takes no --encoder');
}

async function measure(values: Values, encoder: Encoder | undefined, { signal, onProgress }: Context): Promise<Outcome> {
  const explore = exploring(values);
  if (explore && 'epsilon' in explore && !(explore.epsilon >= 0 && explore.epsilon <= 1))
    throw usage(`--explore must be a number from 0 to 1, not ${explore.epsilon}`);
  const growth = growthOf(values);
  const given = objective(values); // a slip is said before the data is read
  if (oneOf(values, 'protocol', PROTOCOLS) === 'leave-one-out') {
    return evaluateRanking(required(values, 'data'), values, { signal, onProgress });
  }
  const { outcomes, isMatrix, path } = await readData(required(values, 'data'), { signal, onProgress });
  const protocol = oneOf(values, 'protocol', PROTOCOLS) ?? (isMatrix ? 'cv' : 'offpolicy');
  const by = oneOf(values, 'by', ['cv', 'split'] as const) ?? 'cv';
  const splits = protocol === 'split' || (protocol === 'log' && by === 'split');
  const count = integer(values, 'seeds', 1) ?? (protocol === 'split' || protocol === 'offpolicy' ? 1 : 5);
  const metric = oneOf<MetricName>(values, 'metric', METRICS);
  const weights = given ?? (protocol === 'offpolicy' ? undefined : { [metric ?? 'score']: metric === 'retry' ? -1 : 1 });

  const names = nameList(values, 'attributes');
  const asked = text(values, 'scores');
  const scoreTable = asked === undefined || asked === 'category-means' ? undefined : await readScoreTable(asked, { signal });
  const alone = values['without-outcomes'] === true;
  if (alone && asked === undefined) throw usage('--without-outcomes needs --scores');
  const fitModel: typeof learn = async (training, options) => {
    const content = scoreTable ?? (asked === undefined ? undefined : categoryMeans(training as OutcomeTable, metric ?? 'score'));
    if (alone && content) return learnFromScores(content, { attribute: 'category', seed: options?.seed, signal: options?.signal });
    return learn(training, { ...options, attributes: names, encoder, content, beliefs: explore !== undefined && 'policy' in explore });
  };
  const fit: Fit = async (training, options) => {
    const model = await fitModel(training, options);
    const router = await Router.from(model, options);
    return async (conversations, { attributes: all, signal: stop }) => {
      const attributes = all.map((known) => restrict(known, router.attributeNames));
      const trying = explore && { ...explore, among: explore.among ?? 5 };
      const decisions = await router.route(conversations, {
        k: 1,
        objective: weights,
        explore: trying,
        seed: 0,
        signal: stop,
        attributes,
      });
      return decisions.map(({ candidates }) => candidates.map(({ expert, propensity }) => ({ expert, probability: propensity })));
    };
  };
  const common = {
    seeds: Array.from({ length: count }, (_, seed) => seed),
    folds: integer(values, 'folds', 2),
    replicates: integer(values, 'replicates', 1),
    metric,
    signal,
    onProgress,
  };
  if (protocol === 'cells') {
    const result = evaluateCells(outcomes, fillCells, common);
    return { json: { data: path, ...result }, text: describeCells(result) };
  }
  if (protocol === 'cold') {
    const result = await evaluateCold(outcomes, fitPredictor(names, encoder), common);
    return { json: { data: path, ...result }, text: describeCold(result) };
  }
  if (protocol === 'online') {
    const result = await evaluateOnline(outcomes, goOn(names, encoder, growth), fit, common);
    return { json: { data: path, growth: growth ?? 'none', ...result }, text: describeOnline(result) };
  }
  if (protocol === 'offpolicy') {
    const result = await evaluateLog(outcomes, fit, { ...common, objective: weights });
    return { json: { data: path, ...result }, text: describeLog(result) };
  }
  const log = protocol === 'log';
  const result = splits
    ? await trainTest(outcomes, fit, { ...common, log, train: text(values, 'train'), test: text(values, 'test') })
    : await crossValidate(outcomes, fit, { ...common, log });
  return { json: { data: path, ...result }, text: describeMatrix(result) };
}

/** --growth; never: undefined. */
function growthOf(values: Values): number | undefined {
  if (text(values, 'growth') === 'none') return undefined;
  const growth = number(values, 'growth', " or 'none'") ?? 1.5;
  if (growth <= 1) throw usage(`--growth must be above 1, not ${growth}`);
  return growth;
}

function describeMatrix(result: MatrixEvaluation): string {
  const digits = 4;
  const row = (name: string, { mean, low, high }: Estimate) => [
    name,
    mean.toFixed(digits),
    `[${low.toFixed(digits)}, ${high.toFixed(digits)}]`,
  ];
  const mean = result.bySeed.reduce((sum, value) => sum + value, 0) / result.bySeed.length;
  const deviation = Math.sqrt(result.bySeed.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, result.bySeed.length - 1));
  const categories = result.byCategory.map((each) => [
    each.category || '(none)',
    String(each.conversations),
    ...[each.random, each.bestSingle, each.router, each.oracle].map((value) => value.toFixed(digits)),
  ]);
  const singles = Object.entries(result.bestSingleExperts).map(([expert, times]) => `${expert} (${times})`);
  return [
    `${result.protocol}; ${result.metric}; ${plural(result.conversations, 'prompt')} in ${plural(result.groups, 'group')}, ${plural(result.experts, 'expert')}` +
      `${result.incomplete > 0 ? `; ${plural(result.incomplete, 'prompt')} with missing outcomes left out` : ''}`,
    '',
    table([
      ['', 'mean', '95% interval'],
      row('random', result.random),
      row('best single expert', result.bestSingle),
      row('router', result.router),
      row('oracle', result.oracle),
      row('router − best single', result.gain),
    ]),
    '',
    `seeds ${result.seeds.join(', ')}: ${result.bySeed.map((value) => value.toFixed(digits)).join(', ')} (standard deviation ${deviation.toFixed(digits)})`,
    `best single expert of the training parts: ${singles.join(', ')}`,
    ...(categories.length > 0 ? ['', table([['category', 'prompts', 'random', 'best single', 'router', 'oracle'], ...categories])] : []),
  ].join('\n');
}

function describeLog(result: LogEvaluation): string {
  const span = ({ mean, low, high }: Estimate) => `${mean.toFixed(3)} [${low.toFixed(3)}, ${high.toFixed(3)}]`;
  const blocks = Object.entries(result.values).map(([metric, { router, bestSingle, random, logged }]) => {
    const rows = Object.entries({ router, 'best single expert': bestSingle, random }).map(([name, value]) => [
      name,
      span(value.snips),
      span(value.ips),
      value.effectiveSampleSize.toFixed(0),
      String(value.matched),
    ]);
    return table([[metric, 'SNIPS [95%]', 'IPS [95%]', 'ESS', 'matched'], ['as logged', span(logged), '', '', ''], ...rows]);
  });
  const few = Object.values(result.values).some(({ router }) => router.effectiveSampleSize < 100);
  const singles = Object.entries(result.bestSingleExperts).map(([expert, times]) => `${expert} (${times})`);
  return [
    `${result.protocol}; ${plural(result.records, 'record')}, ${plural(result.conversations, 'conversation')}, ${plural(result.experts, 'expert')}` +
      `${result.withoutPropensity > 0 ? `; ${plural(result.withoutPropensity, 'record')} without a propensity` : ''}`,
    '',
    blocks.join('\n\n'),
    '',
    `best single expert of the training parts, by ${result.metric}: ${singles.join(', ')}`,
    ...result.warnings,
    ...(few
      ? ['The effective sample is small: the router seldom chooses what was logged. Log with exploration, or evaluate with --explore.']
      : []),
  ].join('\n');
}
