/** Router: conversations in, decisions out. */
import { randomInt, randomUUID } from 'node:crypto';
import { checkOptions, PointsmanError, someOf } from '../errors.js';
import { LearnedModel } from '../learn/index.js';
import { Random } from '../random.js';
import type { Attributes, Conversation, Encoder, Objective, TaskOptions } from '../types.js';
import type { AdvantageUnit, Candidate, Decision, ExpertSet, FeatureSpace, Policy, RouteOptions, Scorer, Uncertainty } from './contract.js';
import { checkAttributes, checkConversations } from './conversations.js';
import { explain } from './explain.js';
import { checkObjective } from './objective.js';
import { checkPolicy, draw, propensities } from './policy.js';

/** What a router is made of. */
export interface RouterParts {
  encoder: Encoder;
  scorer: Scorer;
  space: FeatureSpace;
  /** Needed by Thompson sampling alone. */
  uncertainty?: Uncertainty | undefined;
}

/** Parts that are replaced while requests come in, all of them at once; `OnlineLearner` is one. A request keeps those it began with. */
export interface LiveParts {
  readonly parts: RouterParts;
}

/** A model that brings its own encoder and experts; `learn` gives one. */
export interface RoutableModel extends FeatureSpace {
  encoder: Encoder;
  index(options?: TaskOptions): Promise<Scorer>;
  deviation?: Uncertainty['deviation'];
}

/** The most candidates that a decision can list: the engine's own limit. */
const MAX_K = 4096;

const OPTIONS = Object.keys({
  k: true,
  objective: true,
  attributes: true,
  eligible: true,
  exclude: true,
  ignoreUnknown: true,
  explore: true,
  seed: true,
  signal: true,
} satisfies { [option in keyof RouteOptions]-?: true }); // so that the compiler keeps the list whole

/**
 * Routes conversations to experts: encodes them, searches the experts with the highest score for the objective,
 * lets the policy choose among them, and says why.
 */
export class Router {
  readonly #source: LiveParts;
  #checked: RouterParts;
  #opened: LearnedModel | undefined;

  /** @throws PointsmanError BAD_ARGUMENT when a part is missing, WRONG_SHAPE when they do not fit each other */
  constructor(parts: RouterParts | LiveParts) {
    this.#source = parts !== null && typeof parts === 'object' && 'parts' in parts ? parts : { parts };
    this.#checked = checkParts(this.#source.parts);
  }

  /** A router over a model, such as `learn` returns, or over an `OnlineLearner`, whose versions it follows. @throws PointsmanError BAD_ARGUMENT, CLOSED */
  static async from(model: RoutableModel | LiveParts, options: TaskOptions = {}): Promise<Router> {
    checkOptions(options, undefined, 'Router.from');
    if (model !== null && typeof model === 'object' && 'parts' in model) return new Router(model);
    if (typeof model?.index !== 'function') {
      throw new PointsmanError('BAD_ARGUMENT', 'Router.from takes a model, such as learn returns; Router.open takes its folder');
    }
    const uncertainty = typeof model.deviation === 'function' ? (model as Uncertainty) : undefined;
    return new Router({ encoder: model.encoder, scorer: await model.index(options), space: model, uncertainty });
  }

  /**
   * Opens the folder that a model was saved to; one that was learned with an encoder of yours needs it again.
   * @throws PointsmanError BAD_ARGUMENT, FILE_MISSING, FILE_CORRUPT, FILE_VERSION, FILE_IO, WRONG_ENCODER
   */
  static async open(
    folder: string,
    options: TaskOptions & { threads?: number | undefined; encoder?: Encoder | undefined } = {},
  ): Promise<Router> {
    const model = await LearnedModel.open(folder, options);
    try {
      const router = await Router.from(model, options);
      router.#opened = model;
      return router;
    } catch (error) {
      model.close();
      throw error;
    }
  }

  /**
   * Closes the model that `Router.open` opened: requests fail with CLOSED from now on, those under way, too: await them first. A router over
   * somebody else's parts leaves them as they are. Closing twice is no error.
   */
  close(): void {
    this.#opened?.close();
  }

  /** The metrics that an objective may weigh. */
  get metrics(): FeatureSpace['metrics'] {
    return this.#parts.space.metrics;
  }

  /** Attributes of conversations that a request may give. */
  get attributeNames(): readonly string[] {
    return this.#parts.space.attributeNames ?? [];
  }

  /** Names of the feature space's dimensions, in the order of `contributions.dimensions`. */
  get dimensionNames(): readonly string[] {
    return this.#parts.space.dimensionNames;
  }

  /** What a score is in, before the objective's weights: see `FeatureSpace`. */
  get advantageIn(): AdvantageUnit {
    return this.#parts.space.advantageIn ?? 'deviations';
  }

  get modelVersion(): string {
    return this.#parts.space.version;
  }

  /**
   * One decision a conversation, in order.
   * @throws PointsmanError BAD_CONVERSATION, BAD_OBJECTIVE, BAD_K, BAD_ARGUMENT, UNKNOWN_EXPERT, NO_CANDIDATES, ABORTED; NO_BELIEFS
   * where Thompson sampling is asked of a model that was learned without
   */
  async route(conversations: readonly Conversation[], options: RouteOptions = {}): Promise<Decision[]> {
    const checked = checkConversations(conversations);
    checkOptions(options, OPTIONS, 'route');
    const { k = 5, signal } = options;
    if (!Number.isInteger(k) || k < 1 || k > MAX_K) {
      throw new PointsmanError('BAD_K', `k must be an integer from 1 to ${MAX_K}, not ${String(k)}`);
    }
    const { encoder, scorer, space, uncertainty } = this.#parts;
    const objective = checkObjective(options.objective, space.metrics);
    const policy = checkPolicy(options.explore, k);
    const random = new Random(checkSeed(options.seed));
    const attributes = checkAttributes(options.attributes, checked.length);
    const filter = filterOf(scorer, options);
    if (checked.length === 0) return [];

    const psi = known(space, await encoder.encode(checked, { signal }), attributes);
    const queries = space.queryVectors(psi, objective);
    const listed = policy.name === 'greedy' ? k : Math.max(k, policy.among);
    const hits = await scorer.search(queries, { k: listed, filter, signal });

    const unit = space.queryVectors(psi, Object.fromEntries(space.metrics.map((metric) => [metric, 1])));
    const at = new Date().toISOString();
    return checked.map((conversation, i) => {
      const p = encoder.dimensions;
      const width = scorer.dimensions;
      const best = hits.ids(i).flatMap((expert, rank) => {
        const vector = scorer.vector(expert);
        if (vector === undefined) return []; // removed while we searched: it cannot answer any more
        const score = hits.scores[i * hits.k + rank] as number;
        const row = psi.subarray(i * p, (i + 1) * p);
        const why = explain(space, objective, row, unit.subarray(i * width, (i + 1) * width), vector);
        const asked = policy.name === 'thompson' && rank < policy.among;
        return [{ expert, score, ...(asked && { deviation: deviationOf(uncertainty, expert, row, objective) }), ...why }];
      });
      return decide(conversation, attributes?.[i], Array.from(psi.subarray(i * p, (i + 1) * p)), best, {
        objective,
        policy,
        random,
        at,
        modelVersion: space.version,
      });
    });
  }

  /** Of the source's present version; checked when it is new. */
  get #parts(): RouterParts {
    const { parts } = this.#source;
    if (parts !== this.#checked) this.#checked = checkParts(parts);
    return this.#checked;
  }
}

function known(space: FeatureSpace, psi: Float32Array, attributes: readonly Attributes[] | undefined): Float32Array {
  if (attributes === undefined) return psi;
  if (space.withAttributes) return space.withAttributes(psi, attributes);
  throw new PointsmanError('BAD_ARGUMENT', 'the model knows of no attributes of conversations');
}

/** @throws PointsmanError NO_BELIEFS */
function deviationOf(uncertainty: Uncertainty | undefined, expert: string, psi: Float32Array, objective: Objective): number {
  const deviation = uncertainty?.deviation(expert, psi, objective);
  if (deviation !== undefined && Number.isFinite(deviation) && deviation >= 0) return deviation;
  throw new PointsmanError(
    'NO_BELIEFS',
    `Thompson sampling needs to know how sure the model is of ${someOf([expert])}, which it does not know`,
  );
}

function filterOf(scorer: Scorer, { eligible, exclude, ignoreUnknown = false }: RouteOptions): ExpertSet | undefined {
  checkIds(eligible, 'eligible');
  checkIds(exclude, 'exclude');
  if (typeof ignoreUnknown !== 'boolean') {
    throw new PointsmanError('BAD_ARGUMENT', `ignoreUnknown must be true or false, not ${String(ignoreUnknown)}`);
  }
  if (eligible === undefined && (exclude === undefined || exclude.length === 0)) return undefined;
  const out = new Set(exclude);
  const left = eligible?.filter((id) => !out.has(id));
  const filter = left ? scorer.filter(left) : scorer.filter([...out], { complement: true });
  if (!ignoreUnknown) {
    refuseUnknown(scorer, [...out], 'exclude');
    // A set as large as its list holds all of it; a million ids are looked at one by one only where it does not.
    if (left && filter.size < left.length) refuseUnknown(scorer, left, 'eligible');
  }
  if (filter.size === 0) {
    throw new PointsmanError('NO_CANDIDATES', 'no expert of the model is left after eligible and exclude');
  }
  return filter;
}

function refuseUnknown(scorer: Scorer, ids: readonly string[], option: string): void {
  const unknown = [...new Set(ids.filter((id) => !scorer.has(id)))];
  if (unknown.length === 0) return;
  throw new PointsmanError(
    'UNKNOWN_EXPERT',
    `${option} names experts that the model does not know: ${someOf(unknown)} (ignoreUnknown, or --ignore-unknown, passes over them)`,
  );
}

function checkParts(parts: RouterParts): RouterParts {
  const needed = { encoder: ['encode'], scorer: ['search', 'filter', 'has', 'vector'], space: ['queryVectors', 'readOut'] } as const;
  for (const [name, methods] of Object.entries(needed)) {
    const part = parts?.[name as keyof RouterParts] as unknown as { [method: string]: unknown } | null | undefined;
    const lacking = methods.find((method) => typeof part?.[method] !== 'function');
    if (lacking) {
      const what = part === undefined || part === null ? 'is missing' : `has no method ${lacking}`;
      throw new PointsmanError('BAD_ARGUMENT', `a router needs an encoder, a scorer and a space: ${name} ${what}`);
    }
  }
  const { encoder, scorer, space, uncertainty } = parts;
  if (!Array.isArray(space.metrics) || !Array.isArray(space.dimensionNames)) {
    throw new PointsmanError('BAD_ARGUMENT', 'the space of a router needs metrics and dimensionNames, both arrays');
  }
  if (uncertainty !== undefined && typeof uncertainty?.deviation !== 'function') {
    throw new PointsmanError('BAD_ARGUMENT', 'the uncertainty of a router has no method deviation');
  }
  const p = space.dimensionNames.length;
  const width = space.metrics.length * (p + 1);
  if (encoder.dimensions !== p) {
    throw new PointsmanError('WRONG_SHAPE', `the encoder gives ${encoder.dimensions} dimensions, the feature space has ${p}`);
  }
  if (scorer.dimensions !== width) {
    throw new PointsmanError('WRONG_SHAPE', `the index has ${scorer.dimensions} dimensions, the feature space needs ${width}`);
  }
  return parts;
}

function decide(
  conversation: Conversation,
  attributes: Attributes | undefined,
  projection: number[],
  best: readonly Omit<Candidate, 'propensity'>[],
  context: { objective: Objective; policy: Policy; random: Random; at: string; modelVersion: string },
): Decision {
  const { objective, policy, random, at, modelVersion } = context;
  const probabilities = propensities(policy, best);
  const rank = draw(probabilities, random);
  const candidates = best.map((candidate, i) => ({ ...candidate, propensity: probabilities[i] as number }));
  const chosen = candidates[rank];
  if (chosen === undefined) throw new PointsmanError('NO_CANDIDATES', 'the model has no experts');
  const { expert, score, propensity } = chosen;
  const asked = attributes === undefined ? { conversation } : { conversation, attributes };
  return { id: randomUUID(), ...asked, expert, score, propensity, candidates, projection, objective, policy, modelVersion, at };
}

function checkIds(ids: unknown, name: string): void {
  if (ids !== undefined && (!Array.isArray(ids) || ids.some((id) => typeof id !== 'string' || id.length === 0))) {
    throw new PointsmanError('BAD_ARGUMENT', `${name} must be an array of expert ids`);
  }
}

function checkSeed(seed: unknown): number {
  if (seed === undefined) return randomInt(2 ** 47);
  if (!Number.isSafeInteger(seed)) throw new PointsmanError('BAD_ARGUMENT', `seed must be an integer, not ${String(seed)}`);
  return seed as number;
}
