/** The router over a hand-made model: choice, explanation, policies, constraints, errors. */
import { describe, expect, it } from 'vitest';
import { Random } from '../src/random.js';
import type { FeatureSpace, Scorer } from '../src/route/contract.js';
import { checkPolicy, draw, propensities } from '../src/route/policy.js';
import { Router } from '../src/route/router.js';
import type { Conversation, Encoder, MetricName, Objective } from '../src/types.js';

const METRICS = ['retry', 'rating'] as const;

/** ψ of a conversation: is it about code, is it about poems. */
const encoder: Encoder = {
  dimensions: 2,
  encode: async (conversations) =>
    Float32Array.from(
      conversations.flatMap((messages) => {
        const text = messages.map(({ content }) => content).join(' ');
        return [text.includes('code') ? 1 : 0, text.includes('poem') ? 1 : 0];
      }),
    ),
};

const space: FeatureSpace = {
  version: 'hand-made',
  metrics: METRICS,
  dimensionNames: ['code', 'poem'],
  queryVectors: (psi, objective) => {
    const rows: number[] = [];
    for (let i = 0; i < psi.length; i += 2) {
      for (const metric of METRICS) {
        const weight = objective[metric] ?? 0;
        rows.push(weight * (psi[i] as number), weight * (psi[i + 1] as number), weight);
      }
    }
    return Float32Array.from(rows);
  },
  readOut: (metric, _psi, advantage) => (metric === 'retry' ? 1 / (1 + Math.exp(-advantage)) : 3.5 + advantage),
};

/** retry by code, poem, bias; rating by code, poem, bias. */
const EXPERTS = new Map([
  ['coder', Float32Array.of(-1, 0, -0.25, 1.5, -0.5, 0)],
  ['poet', Float32Array.of(0.5, -1, 0, -0.5, 1.5, 0)],
  ['allrounder', Float32Array.of(-0.25, -0.25, -0.25, 0.5, 0.5, 0.25)],
  ['novice', Float32Array.of(0.5, 0.5, 0.5, -0.5, -0.5, -0.5)],
]);

/** Plain search over a map: the interface that ExpertIndex satisfies, without the addon. */
function scorer(experts: ReadonlyMap<string, Float32Array>): Scorer {
  return {
    dimensions: 6,
    filter: (ids, { complement = false } = {}) => new Set([...experts.keys()].filter((id) => ids.includes(id) !== complement)),
    has: (id) => experts.has(id),
    vector: (id) => experts.get(id),
    search: async (queries, { k, filter }) => {
      const among = filter as ReadonlySet<string> | undefined;
      const found = Array.from({ length: queries.length / 6 }, (_, i) =>
        [...experts]
          .filter(([id]) => !among || among.has(id))
          .map(([id, x]) => ({ id, score: x.reduce((sum, v, j) => sum + v * (queries[i * 6 + j] as number), 0) }))
          .sort((a, b) => b.score - a.score)
          .slice(0, k),
      );
      const scores = new Float32Array(found.length * k).fill(Number.NEGATIVE_INFINITY);
      for (const [i, hits] of found.entries()) for (const [n, { score }] of hits.entries()) scores[i * k + n] = score;
      return { k, counts: Uint32Array.from(found, (hits) => hits.length), scores, ids: (i) => (found[i] ?? []).map(({ id }) => id) };
    },
  };
}

const router = new Router({ encoder, scorer: scorer(EXPERTS), space });
const ask = (content: string): Conversation => [{ role: 'user', content }];
const code = ask('Please fix my code');
const poem = ask('A poem about rain');

describe('route', () => {
  it('chooses by conversation and objective, best first', async () => {
    const [first, second] = await router.route([code, poem], { k: 3, objective: { retry: -1, rating: 0.5 } });
    expect(first?.expert).toBe('coder');
    expect(second?.expert).toBe('poet');
    expect(first?.candidates.map(({ expert }) => expert)).toEqual(['coder', 'allrounder', 'poet']);
    expect(first?.modelVersion).toBe('hand-made');
    expect(first?.policy).toEqual({ name: 'greedy' });
    expect(first?.propensity).toBe(1);
    expect(first?.id).not.toBe(second?.id);
    expect(new Date(first?.at as string).toISOString()).toBe(first?.at);
    expect(JSON.parse(JSON.stringify(first))).toEqual(first);
  });

  it('explains: metrics sum to the score, and so do dimensions and bias', async () => {
    const [decision] = await router.route([code], { k: 4, objective: { retry: -1, rating: 0.5 } });
    for (const { score, contributions } of decision?.candidates ?? []) {
      expect(Object.values(contributions.metrics).reduce((a, b) => a + b, 0)).toBeCloseTo(score, 5);
      expect(contributions.dimensions.reduce((a, b) => a + b, 0) + contributions.bias).toBeCloseTo(score, 5);
    }
    const best = decision?.candidates[0];
    expect(best?.contributions.metrics).toEqual({ retry: 1.25, rating: 0.75 });
    expect(best?.contributions.dimensions).toEqual([1.75, 0]);
    expect(best?.contributions.bias).toBe(0.25);
  });

  it('predicts every metric, also those the objective leaves out', async () => {
    const [decision] = await router.route([poem], { objective: { rating: 1 } });
    const best = decision?.candidates[0];
    expect(best?.expert).toBe('poet');
    expect(best?.predictions.rating).toBeCloseTo(5);
    expect(best?.predictions.retry).toBeCloseTo(1 / (1 + Math.exp(1)));
    expect(Object.keys(best?.contributions.metrics ?? {})).toEqual(['rating']);
  });

  it('takes natural signs: a positive weight on retry asks for retries', async () => {
    const [decision] = await router.route([code], { objective: { retry: 1 } });
    expect(decision?.expert).toBe('novice');
  });

  it('keeps to eligible and exclude, passing over unknown ids when told to', async () => {
    const choose = async (options: object) => (await router.route([code], options))[0]?.expert;
    expect(await choose({ exclude: ['coder'] })).toBe('allrounder');
    expect(await choose({ eligible: ['poet', 'novice', 'nobody'], ignoreUnknown: true })).toBe('poet');
    expect(await choose({ eligible: ['poet', 'novice'], exclude: ['poet', 'nobody'], ignoreUnknown: true })).toBe('novice');
    expect(await choose({ exclude: [] })).toBe('coder');
    expect(await choose({ eligible: ['poet', 'poet'] })).toBe('poet');
    const strangers = ['poet', ...Array.from({ length: 7 }, (_, i) => `stranger ${i}`)];
    await expect(choose({ eligible: strangers })).rejects.toThrow(/: 'stranger 0', .*'stranger 4' and 2 more/);
  });

  it('gives no decision for no conversation', async () => {
    expect(await router.route([])).toEqual([]);
  });

  it('leaves out an expert that was removed while it searched', async () => {
    const live = { ...scorer(EXPERTS), vector: (id: string) => (id === 'coder' ? undefined : EXPERTS.get(id)) };
    const [decision] = await new Router({ encoder, scorer: live, space }).route([code]);
    expect(decision?.expert).toBe('allrounder');
  });
});

describe('explore', () => {
  it('gives propensities that sum to 1 over the candidates', async () => {
    const [decision] = await router.route([code], { k: 2, explore: { epsilon: 0.3, among: 3 }, seed: 1 });
    const of = decision?.candidates.map(({ propensity }) => propensity);
    expect(of).toHaveLength(3);
    expect(of?.[0]).toBeCloseTo(0.8);
    expect(of?.[1]).toBeCloseTo(0.1);
    expect(of?.reduce((a, b) => a + b)).toBeCloseTo(1);
    expect(decision?.candidates.find(({ expert }) => expert === decision.expert)?.propensity).toBe(decision?.propensity);
  });

  it('divides by those that take part when there are fewer than asked for', async () => {
    const [decision] = await router.route([code], { eligible: ['coder', 'poet'], explore: { epsilon: 0.5, among: 10 } });
    expect(decision?.candidates.map(({ propensity }) => propensity)).toEqual([0.75, 0.25]);
  });

  it('chooses as often as its propensities say', async () => {
    const trials = 20_000;
    const options = { k: 4, explore: { epsilon: 0.4, among: 3 }, seed: 7 };
    const decisions = await router.route(
      Array.from({ length: trials }, () => code),
      options,
    );
    const counts = new Map<string, number>();
    for (const { expert } of decisions) counts.set(expert, (counts.get(expert) ?? 0) + 1);
    for (const { expert, propensity } of decisions[0]?.candidates ?? []) {
      const deviation = Math.sqrt((propensity * (1 - propensity)) / trials);
      expect(Math.abs((counts.get(expert) ?? 0) / trials - propensity)).toBeLessThanOrEqual(4 * deviation);
    }
    expect(counts.has('novice')).toBe(false);
    const again = await router.route(
      Array.from({ length: trials }, () => code),
      options,
    );
    expect(again.map(({ expert }) => expert)).toEqual(decisions.map(({ expert }) => expert));
  });

  it('draws the last possible rank when rounding leaves a remainder', () => {
    const random = { uniform: () => 1 - 2 ** -32 } as Random;
    expect(draw([0.1, 0.2, 0.7 - 1e-9, 0], random)).toBe(2);
    expect(propensities(checkPolicy({ epsilon: 1 }, 4), new Array(4).fill({ score: 0 }))).toEqual([0.25, 0.25, 0.25, 0.25]);
  });
});

describe('bad input', () => {
  const failure = (code: string) => expect.objectContaining({ name: 'PointsmanError', code });
  it.each<[string, unknown, object]>([
    ['BAD_ARGUMENT', 'Hello', {}],
    ['BAD_CONVERSATION', [[]], {}],
    ['BAD_CONVERSATION', ['Hello'], {}],
    ['BAD_CONVERSATION', [[{ role: 'user' }]], {}],
    ['BAD_CONVERSATION', [[{ role: 'user', content: 7 }]], {}],
    ['BAD_CONVERSATION', [[null]], {}],
    ['BAD_OBJECTIVE', [code], { objective: { speed: 1 } }],
    ['BAD_OBJECTIVE', [code], { objective: { score: 1 } }],
    ['BAD_OBJECTIVE', [code], { objective: {} }],
    ['BAD_OBJECTIVE', [code], { objective: { retry: 0, rating: 0 } }],
    ['BAD_OBJECTIVE', [code], { objective: { rating: 1e-60 } }],
    ['BAD_OBJECTIVE', [code], { objective: { retry: Number.NaN } }],
    ['BAD_OBJECTIVE', [code], { objective: { rating: Number.POSITIVE_INFINITY } }],
    ['BAD_OBJECTIVE', [code], { objective: { rating: 1e300 } }],
    ['BAD_OBJECTIVE', [code], { objective: { rating: '1' } }],
    ['BAD_OBJECTIVE', [code], { objective: null }],
    ['BAD_K', [code], { k: 0 }],
    ['BAD_K', [code], { k: 1.5 }],
    ['BAD_K', [code], { k: 4097 }],
    ['BAD_ARGUMENT', [code], { explore: { epsilon: 1.5 } }],
    ['BAD_ARGUMENT', [code], { explore: { epsilon: Number.NaN } }],
    ['BAD_ARGUMENT', [code], { explore: { epsilon: 0.1, among: 0 } }],
    ['BAD_ARGUMENT', [code], { seed: 0.5 }],
    ['BAD_ARGUMENT', [code], { eligible: 'coder' }],
    ['BAD_ARGUMENT', [code], { exclude: [7] }],
    ['BAD_ARGUMENT', [code], { elligible: ['coder'] }],
    ['BAD_ARGUMENT', [code], { ignoreUnknown: 1 }],
    ['UNKNOWN_EXPERT', [code], { eligible: ['nobody'] }],
    ['UNKNOWN_EXPERT', [code], { eligible: ['coder', 'coder', 'nobody'] }],
    ['UNKNOWN_EXPERT', [code], { exclude: ['nobody'] }],
    ['UNKNOWN_EXPERT', [code], { eligible: ['coder'], exclude: ['nobody'] }],
    ['NO_CANDIDATES', [code], { eligible: ['nobody'], ignoreUnknown: true }],
    ['NO_CANDIDATES', [code], { eligible: [] }],
    ['NO_CANDIDATES', [code], { exclude: [...EXPERTS.keys()] }],
  ])('%s: %j %j', async (expected, conversations, options) => {
    await expect(router.route(conversations as Conversation[], options)).rejects.toEqual(failure(expected));
  });

  it('counts conversations and messages from 1, and names the option that it does not know', async () => {
    const empty = router.route([code, []]);
    await expect(empty).rejects.toThrow('conversation 2: the conversation is empty');
    await expect(router.route([[...code, { role: 'user' } as never]])).rejects.toThrow('message 2 of conversation 1');
    await expect(router.route([code], { elligible: ['coder'] } as object)).rejects.toThrow(/'elligible'; it has .*eligible/);
    await expect(router.route([code], null as never)).rejects.toEqual(failure('BAD_ARGUMENT'));
  });

  it('BAD_ARGUMENT where a part, a model or a folder is missing', async () => {
    expect(() => new Router({} as never)).toThrow(failure('BAD_ARGUMENT'));
    expect(() => new Router(undefined as never)).toThrow(/encoder is missing/);
    expect(() => new Router({ encoder, scorer: { ...scorer(EXPERTS), has: undefined } as never, space })).toThrow(
      /scorer has no method has/,
    );
    expect(() => new Router({ encoder, scorer: scorer(EXPERTS), space: { ...space, metrics: undefined } as never })).toThrow(/metrics/);
    for (const wrong of [undefined, null, '', 7]) await expect(Router.open(wrong as never)).rejects.toEqual(failure('BAD_ARGUMENT'));
    await expect(Router.from(undefined as never)).rejects.toEqual(failure('BAD_ARGUMENT'));
  });

  it('NO_CANDIDATES without experts, WRONG_SHAPE when parts do not fit', async () => {
    const empty = new Router({ encoder, scorer: scorer(new Map()), space });
    await expect(empty.route([code])).rejects.toEqual(failure('NO_CANDIDATES'));
    expect(() => new Router({ encoder: { ...encoder, dimensions: 3 }, scorer: scorer(EXPERTS), space })).toThrow(/3 dimensions/);
    expect(() => new Router({ encoder, scorer: { ...scorer(EXPERTS), dimensions: 5 }, space })).toThrow(/needs 6/);
  });
});

describe('default objective', () => {
  const trace = async (metrics: readonly MetricName[]) => {
    let seen: Objective = {};
    const traced: FeatureSpace = {
      ...space,
      metrics,
      queryVectors: (psi, objective) => {
        if (Object.keys(seen).length === 0) seen = objective;
        return new Float32Array((psi.length / 2) * metrics.length * 3);
      },
    };
    const width = metrics.length * 3;
    const experts = new Map([['one', new Float32Array(width)]]);
    const any = {
      ...scorer(experts),
      dimensions: width,
      search: async () => ({ k: 5, counts: Uint32Array.of(1), scores: new Float32Array(5), ids: () => ['one'] }),
    };
    await new Router({ encoder, scorer: any, space: traced }).route([code]);
    return seen;
  };
  it('weighs what the model knows', async () => {
    expect(await trace(['retry', 'rating', 'length'])).toEqual({ retry: -1, rating: 0.5, length: 0.2 });
    expect(await trace(['score'])).toEqual({ score: 1 });
    expect(await trace(['rating'])).toEqual({ rating: 0.5 });
  });
});

describe('random numbers', () => {
  it('are repeatable, uniform, and differ between seeds', () => {
    const list = (seed: number) => {
      const random = new Random(seed);
      return Array.from({ length: 5 }, () => random.uint32());
    };
    expect(list(3)).toEqual(list(3));
    expect(list(3)).not.toEqual(list(4));
    expect(list(3)).not.toEqual(list(3 + 2 ** 32));
    const random = new Random(0);
    const bins = new Array<number>(16).fill(0);
    for (let n = 0; n < 160_000; n++) {
      const bin = random.below(16);
      bins[bin] = (bins[bin] as number) + 1;
    }
    const chiSquared = bins.reduce((sum, count) => sum + (count - 10_000) ** 2 / 10_000, 0);
    expect(chiSquared).toBeLessThan(37.7); // 15 degrees of freedom, p = 0.001
    expect(random.shuffle([1, 2, 3, 4]).sort()).toEqual([1, 2, 3, 4]);
  });
});
