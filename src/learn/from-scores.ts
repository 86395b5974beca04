/**
 * A model from a score table alone, before any outcome: an expert's vector are its scores, a conversation's says how much it asks of
 * each dimension,
 *
 *     score(m, C) = Σ_d s_md · ψ_d(C)
 *
 * ψ is 1 in the dimension that an attribute of the conversation names (without it, 1/D in each), or a least-squares regression of
 * labelled conversations on their text (1 in the labelled dimension, 0 elsewhere). Nothing here is calibrated: predictions are the
 * scores brought to 0–1 by the table's range, with a logistic read-out that is near the identity.
 */
import { checkOptions, PointsmanError, someOf } from '../errors.js';
import { run } from '../native.js';
import type { Conversation, ScoreTable, TaskOptions } from '../types.js';
import { learnAddon } from './addon.js';
import { assemble } from './assemble.js';
import { contentParameters, contentRows } from './content.js';
import { ATTRIBUTE_SCALE, analyse, seenIn } from './corpus.js';
import { workOf } from './learn.js';
import { METRICS } from './metrics.js';
import type { LearnedModel } from './model.js';
import { checkScoreTable } from './score-table.js';

/** A conversation that asks for one dimension. */
export interface LabelledConversation {
  conversation: Conversation;
  dimension: string;
}

export interface FromScoresOptions extends TaskOptions {
  /** The attribute of conversations whose values are names of dimensions. */
  attribute?: string | undefined;
  /** Conversations with the dimension that each asks for; at least one a dimension. */
  examples?: readonly LabelledConversation[] | undefined;
  seed?: number | undefined;
  threads?: number | undefined;
}

/** l of the regression on text, in units of the corpus's σ². */
const PENALTY = 1;

/** @throws PointsmanError BAD_ARGUMENT, WRONG_SHAPE, NOT_FINITE, DUPLICATE_ID, NOT_ENOUGH_DATA, BAD_CONVERSATION, ABORTED */
export async function learnFromScores(scores: ScoreTable, options: FromScoresOptions = {}): Promise<LearnedModel> {
  checkOptions(options, ['attribute', 'examples', 'seed', 'threads', 'signal', 'onProgress'], 'learnFromScores');
  checkScoreTable(scores);
  const { attribute, examples } = options;
  if ((attribute === undefined) === (examples === undefined)) {
    throw new PointsmanError(
      'BAD_ARGUMENT',
      'a model from scores needs either the attribute that names the dimension or labelled examples',
    );
  }
  const work = workOf(options);
  const names = scores.dimensions;
  const D = names.length;
  const parameters = contentParameters(scores);
  const rows = contentRows(parameters, scores, scores.experts);
  // Without examples there is no text to learn from: a corpus of one empty message has no directions.
  const conversations = examples ? checkExamples(examples, names) : [[{ role: 'user', content: '' }]];
  const corpus = await analyse(
    conversations,
    conversations.map(() => ({})),
    work,
  );
  const view = corpus.text;
  let projection = new Float32Array(view.dimensions * D);
  let offset = new Array<number>(D).fill(1 / D);
  if (examples) {
    const label = examples.map(({ dimension }) => names.indexOf(dimension));
    const count = examples.length * D;
    const problem = {
      coordinates: view.coordinates,
      rows: examples.length,
      dimensions: view.dimensions,
      row: Uint32Array.from({ length: count }, (_, e) => Math.floor(e / D)),
      output: Uint32Array.from({ length: count }, (_, e) => e % D),
      target: Float32Array.from({ length: count }, (_, e) => Number(label[Math.floor(e / D)] === e % D)),
      outputs: D,
    };
    const settings = { rank: D, penalties: [PENALTY], shrinkage: 1, biasPrior: 0 };
    const [fitted] = await run(() => learnAddon().fitOutcomes(problem, settings, work.threads), 'fit', work.tasks);
    projection = Float32Array.from(fitted?.projection ?? []);
    offset = Array.from(fitted?.bias ?? []);
  } else {
    const shares = new Array<number>(D).fill(1 / D);
    corpus.attributes = [{ name: attribute as string, values: [...names], shares }];
    projection = Float32Array.from({ length: D * D }, (_, i) => Number(Math.floor(i / D) === i % D));
    view.dimensions = view.spectral + D;
    projection = Float32Array.from([...new Float32Array(view.spectral * D), ...projection.map((value) => value / ATTRIBUTE_SCALE)]);
  }
  const all = rows.flatMap((row) => row.scores);
  const [low, high] = [Math.min(0, ...all), Math.max(1, ...all)];
  const readOut = { intercept: -2 - (4 * low) / (high - low), slope: 4 / (high - low) };
  return assemble({
    seed: work.seed,
    named: { names, offset },
    experts: scores.experts,
    metrics: [{ metric: METRICS.score, mean: 0, deviation: 1 }],
    corpus,
    expected: seenIn(view, {
      rank: 1,
      bias: new Float32Array(1),
      vectors: new Float32Array(0),
      projection: new Float32Array(view.dimensions),
    }),
    factors: seenIn(view, { rank: D, bias: new Float32Array(scores.experts.length), vectors: Float32Array.from(all), projection }),
    settings: { rank: D, penalty: PENALTY, outcomes: 0 },
    beliefs: undefined,
    readOuts: [readOut],
    work,
  });
}

function checkExamples(examples: readonly LabelledConversation[], names: readonly string[]): Conversation[] {
  if (!Array.isArray(examples) || examples.length === 0) {
    throw new PointsmanError('NOT_ENOUGH_DATA', 'examples must be a list of { conversation, dimension }, at least one a dimension');
  }
  for (const [i, example] of examples.entries()) {
    if (!names.includes(example?.dimension)) {
      throw new PointsmanError(
        'BAD_ARGUMENT',
        `example ${i + 1} is labelled ${someOf([String(example?.dimension)])}, which is no dimension of the table`,
      );
    }
  }
  const missing = names.find((name) => !examples.some(({ dimension }) => dimension === name));
  if (missing !== undefined) throw new PointsmanError('NOT_ENOUGH_DATA', `no example is labelled ${someOf([missing])}`);
  return examples.map(({ conversation }) => conversation);
}
