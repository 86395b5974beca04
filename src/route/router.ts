/** Router: conversations in, decisions out. */
import { randomInt, randomUUID } from 'node:crypto';
import { checkOptions, PointsmanError, someOf } from '../errors.js';
import { LearnedModel } from '../learn/index.js';
import { Random } from '../random.js';
import type { Attributes, Conversation, Encoder, Objective, TaskOptions } from '../types.js';
import type { AdvantageUnit, Candidate, Decision, ExpertSet, FeatureSpace, Policy, RouteOptions, Scorer } from './contract.js';
import { checkAttributes, checkConversations } from './conversations.js';
import { explain } from './explain.js';
import { checkObjective } from './objective.js';
import { checkPolicy, draw, propensities } from './policy.js';

/** What a router is made of. */
export interface RouterParts {
  encoder: Encoder;
  scorer: Scorer;
  space: FeatureSpace;
}

/** A model that brings its own encoder and experts; `learn` gives one. */
export interface RoutableModel extends FeatureSpace {
  encoder: Encoder;
  index(options?: TaskOptions): Promise<Scorer>;
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
  readonly #encoder: Encoder;
  readonly #scorer: Scorer;
  readonly #space: FeatureSpace;

  /** @throws PointsmanError BAD_ARGUMENT when a part is missing, WRONG_SHAPE when they do not fit each other */
  constructor(parts: RouterParts) {
    const { encoder, scorer, space } = checkParts(parts);
    const p = space.dimensionNames.length;
    const width = space.metrics.length * (p + 1);
    if (encoder.dimensions !== p) {
      throw new PointsmanError('WRONG_SHAPE', `the encoder gives ${encoder.dimensions} dimensions, the feature space has ${p}`);
    }
    if (scorer.dimensions !== width) {
      throw new PointsmanError('WRONG_SHAPE', `the index has ${scorer.dimensions} dimensions, the feature space needs ${width}`);
    }
    this.#encoder = encoder;
    this.#scorer = scorer;
    this.#space = space;
  }

  /** A router over a model, such as `learn` returns. @throws PointsmanError BAD_ARGUMENT */
  static async from(model: RoutableModel, options: TaskOptions = {}): Promise<Router> {
    if (typeof model?.index !== 'function') {
      throw new PointsmanError('BAD_ARGUMENT', 'Router.from takes a model, such as learn returns; Router.open takes its folder');
    }
    return new Router({ encoder: model.encoder, scorer: await model.index(options), space: model });
  }

  /**
   * Opens the folder that a model was saved to; one that was learned with an encoder of yours needs it again.
   * @throws PointsmanError BAD_ARGUMENT, FILE_MISSING, FILE_CORRUPT, FILE_VERSION, FILE_IO, WRONG_ENCODER
   */
  static async open(
    folder: string,
    options: TaskOptions & { threads?: number | undefined; encoder?: Encoder | undefined } = {},
  ): Promise<Router> {
    return Router.from(await LearnedModel.open(folder, options), options);
  }

  /** The metrics that an objective may weigh. */
  get metrics(): FeatureSpace['metrics'] {
    return this.#space.metrics;
  }

  /** Attributes of conversations that a request may give. */
  get attributeNames(): readonly string[] {
    return this.#space.attributeNames ?? [];
  }

  /** Names of the feature space's dimensions, in the order of `contributions.dimensions`. */
  get dimensionNames(): readonly string[] {
    return this.#space.dimensionNames;
  }

  /** What a score is in, before the objective's weights: see `FeatureSpace`. */
  get advantageIn(): AdvantageUnit {
    return this.#space.advantageIn ?? 'deviations';
  }

  get modelVersion(): string {
    return this.#space.version;
  }

  /**
   * One decision a conversation, in order.
   * @throws PointsmanError BAD_CONVERSATION, BAD_OBJECTIVE, BAD_K, BAD_ARGUMENT, UNKNOWN_EXPERT, NO_CANDIDATES, ABORTED
   */
  async route(conversations: readonly Conversation[], options: RouteOptions = {}): Promise<Decision[]> {
    const checked = checkConversations(conversations);
    checkOptions(options, OPTIONS, 'route');
    const { k = 5, signal } = options;
    if (!Number.isInteger(k) || k < 1 || k > MAX_K) {
      throw new PointsmanError('BAD_K', `k must be an integer from 1 to ${MAX_K}, not ${String(k)}`);
    }
    const objective = checkObjective(options.objective, this.#space.metrics);
    const policy = checkPolicy(options.explore, k);
    const random = new Random(checkSeed(options.seed));
    const attributes = checkAttributes(options.attributes, checked.length);
    const filter = this.#filter(options);
    if (checked.length === 0) return [];

    const psi = this.#known(await this.#encoder.encode(checked, { signal }), attributes);
    const queries = this.#space.queryVectors(psi, objective);
    const listed = policy.name === 'greedy' ? k : Math.max(k, policy.among);
    const hits = await this.#scorer.search(queries, { k: listed, filter, signal });

    const unit = this.#space.queryVectors(psi, Object.fromEntries(this.#space.metrics.map((metric) => [metric, 1])));
    const at = new Date().toISOString();
    return checked.map((conversation, i) => {
      const p = this.#encoder.dimensions;
      const width = this.#scorer.dimensions;
      const best = hits.ids(i).flatMap((expert, rank) => {
        const vector = this.#scorer.vector(expert);
        if (vector === undefined) return []; // removed while we searched: it cannot answer any more
        const score = hits.scores[i * hits.k + rank] as number;
        const why = explain(this.#space, objective, psi.subarray(i * p, (i + 1) * p), unit.subarray(i * width, (i + 1) * width), vector);
        return [{ expert, score, ...why }];
      });
      return decide(conversation, attributes?.[i], Array.from(psi.subarray(i * p, (i + 1) * p)), best, {
        objective,
        policy,
        random,
        at,
        modelVersion: this.#space.version,
      });
    });
  }

  #known(psi: Float32Array, attributes: readonly Attributes[] | undefined): Float32Array {
    if (attributes === undefined) return psi;
    if (this.#space.withAttributes) return this.#space.withAttributes(psi, attributes);
    throw new PointsmanError('BAD_ARGUMENT', 'the model knows of no attributes of conversations');
  }

  #filter({ eligible, exclude, ignoreUnknown = false }: RouteOptions): ExpertSet | undefined {
    checkIds(eligible, 'eligible');
    checkIds(exclude, 'exclude');
    if (typeof ignoreUnknown !== 'boolean') {
      throw new PointsmanError('BAD_ARGUMENT', `ignoreUnknown must be true or false, not ${String(ignoreUnknown)}`);
    }
    if (eligible === undefined && (exclude === undefined || exclude.length === 0)) return undefined;
    const out = new Set(exclude);
    const left = eligible?.filter((id) => !out.has(id));
    const filter = left ? this.#scorer.filter(left) : this.#scorer.filter([...out], { complement: true });
    if (!ignoreUnknown) {
      this.#refuseUnknown([...out], 'exclude');
      // A set as large as its list holds all of it; a million ids are looked at one by one only where it does not.
      if (left && filter.size < left.length) this.#refuseUnknown(left, 'eligible');
    }
    if (filter.size === 0) {
      throw new PointsmanError('NO_CANDIDATES', 'no expert of the model is left after eligible and exclude');
    }
    return filter;
  }

  #refuseUnknown(ids: readonly string[], option: string): void {
    const unknown = [...new Set(ids.filter((id) => !this.#scorer.has(id)))];
    if (unknown.length === 0) return;
    throw new PointsmanError(
      'UNKNOWN_EXPERT',
      `${option} names experts that the model does not know: ${someOf(unknown)} (ignoreUnknown, or --ignore-unknown, passes over them)`,
    );
  }
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
  if (!Array.isArray(parts.space.metrics) || !Array.isArray(parts.space.dimensionNames)) {
    throw new PointsmanError('BAD_ARGUMENT', 'the space of a router needs metrics and dimensionNames, both arrays');
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
  const probabilities = propensities(policy, best.length);
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
