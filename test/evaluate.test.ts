/** Evaluation against values worked out by hand or known from the construction. */
import { describe, expect, it } from 'vitest';
import { bestSingleExpert, outcomeMatrix } from '../src/evaluate/baselines.js';
import { interval, resample } from '../src/evaluate/bootstrap.js';
import { crossValidate, estimateValue, evaluateLog, type Fit, trainTest } from '../src/evaluate/index.js';
import { drawLog, groupFolds, selectConversations } from '../src/evaluate/table.js';
import { Random } from '../src/random.js';
import type { OutcomeTable } from '../src/types.js';

const EXPERTS = ['even', 'odd', 'middling'];

/** A matrix of n conversations: `even` solves the even ones, `odd` the odd ones (a third of all), `middling` half a point of each. */
function matrix(n: number): OutcomeTable {
  const conversations = Array.from({ length: n }, (_, c) => [{ role: 'user', content: String(c) }]);
  const conversation = Uint32Array.from({ length: 3 * n }, (_, r) => Math.floor(r / 3));
  const expert = Uint32Array.from({ length: 3 * n }, (_, r) => r % 3);
  const kind = (c: number) => (c % 3 === 0 ? 1 : 0);
  const score = Float32Array.from({ length: 3 * n }, (_, r) => {
    const e = r % 3;
    return e === 2 ? 0.5 : e === kind(Math.floor(r / 3)) ? 1 : 0;
  });
  return {
    conversations,
    experts: EXPERTS,
    conversation,
    expert,
    metrics: { score },
    group: Uint32Array.from({ length: n }, (_, c) => Math.floor(c / 6)),
    split: conversations.map((_, c) => (c < n / 2 ? 'train' : 'test')),
    category: conversations.map((_, c) => (kind(c) ? 'odd' : 'even')),
  };
}

/** Knows the rule that the matrix was made by. */
const knowing: Fit = async () => async (conversations) =>
  conversations.map(([message]) => [{ expert: Number(message?.content) % 3 === 0 ? 'odd' : 'even', probability: 1 }]);

const always =
  (expert: string): Fit =>
  async () =>
  async (conversations) =>
    conversations.map(() => [{ expert, probability: 1 }]);

describe('matrices', () => {
  it('cross-validation values choices, baselines and the paired gain', async () => {
    const result = await crossValidate(matrix(120), knowing, { folds: 5, seeds: [0, 1], replicates: 200 });
    expect(result.router).toEqual({ mean: 1, low: 1, high: 1 });
    expect(result.bestSingle.mean).toBeCloseTo(2 / 3);
    expect(result.random.mean).toBeCloseTo(0.5);
    expect(result.oracle.mean).toBe(1);
    expect(result.gain.mean).toBeCloseTo(1 / 3);
    expect(result.gain.low).toBeGreaterThan(0.3);
    expect(result).toMatchObject({ conversations: 120, incomplete: 0, groups: 20, experts: 3, bestSingleExperts: { even: 10 } });
    expect(result.shares.even).toBeCloseTo(2 / 3);
    expect(result.bySeed).toEqual([1, 1]);
    expect(result.byCategory.map(({ category, bestSingle }) => [category, bestSingle])).toEqual([
      ['even', 1],
      ['odd', 0],
    ]);
  });

  it('a policy that is the best single expert gains exactly nothing', async () => {
    const { gain } = await crossValidate(matrix(60), always('even'), { seeds: [3], replicates: 100 });
    expect(gain).toEqual({ mean: 0, low: 0, high: 0 });
  });

  it('values a stochastic policy by its probabilities', async () => {
    const mixed: Fit = async () => async (conversations) =>
      conversations.map(() => [
        { expert: 'even', probability: 0.5 },
        { expert: 'middling', probability: 0.5 },
      ]);
    expect((await crossValidate(matrix(60), mixed, { seeds: [0] })).router.mean).toBeCloseTo((2 / 3 + 0.5) / 2);
  });

  it('train → test sees only the training part and averages over categories', async () => {
    const seen: number[] = [];
    const spy: Fit = async (training, options) => {
      seen.push(training.conversations.length);
      expect(training.split?.every((part) => part === 'train')).toBe(true);
      return always('even')(training, options);
    };
    const result = await trainTest(matrix(120), spy, { seeds: [0], replicates: 100 });
    expect(seen).toEqual([60]);
    expect(result.router.mean).toBeCloseTo(0.5); // macro of 1 and 0, where the micro mean would be 2/3
    expect(result.oracle.mean).toBe(1);
  });

  it('a log shows one outcome of each training conversation, another draw each seed; the truth stays whole', async () => {
    const logs: string[] = [];
    const spy: Fit = async (training, options) => {
      expect(training.conversation.length).toBe(training.conversations.length);
      expect([...(training.propensity ?? [])]).toEqual(training.conversations.map(() => Math.fround(1 / 3)));
      logs.push(training.expert.join());
      return knowing(training, options);
    };
    const result = await trainTest(matrix(120), spy, { seeds: [0, 1, 2], log: true, replicates: 50 });
    expect(new Set(logs).size).toBe(3);
    expect(result.router.mean).toBe(1);
  });

  it('leaves out and counts conversations with missing outcomes', async () => {
    const whole = matrix(60);
    const score = whole.metrics.score?.map((y, n) => (n === 4 ? Number.NaN : y)) as Float32Array;
    const result = await crossValidate({ ...whole, metrics: { score } }, knowing, { seeds: [0, 1], replicates: 10 });
    expect(result).toMatchObject({ conversations: 59, incomplete: 1 });
    const log = drawLog(whole, 'score', new Random(0));
    await expect(crossValidate(log, knowing, { seeds: [0] })).rejects.toMatchObject({ code: 'NOT_ENOUGH_DATA' });
  });

  it.each([
    ['BAD_ARGUMENT', () => crossValidate(matrix(60), knowing, { folds: 1 })],
    ['BAD_ARGUMENT', () => crossValidate(matrix(60), knowing, { folds: 11 })],
    ['BAD_ARGUMENT', () => crossValidate(matrix(60), knowing, { seeds: [] })],
    ['BAD_ARGUMENT', () => crossValidate(matrix(60), knowing, { metric: 'rating' })],
    ['BAD_ARGUMENT', () => trainTest(matrix(60), knowing, { test: 'nowhere' })],
    ['UNKNOWN_EXPERT', () => crossValidate(matrix(60), always('stranger'))],
  ])('%s', async (code, run) => {
    await expect(run()).rejects.toMatchObject({ code });
  });
});

describe('parts of a table', () => {
  it('folds keep groups whole and are of like size', () => {
    const table = matrix(120);
    const folds = groupFolds(table, 5, new Random(1));
    for (let c = 0; c < 120; c++) expect(folds[c]).toBe(folds[c - (c % 6)]);
    for (let f = 0; f < 5; f++) expect(folds.filter((fold) => fold === f).length).toBe(24);
    expect(groupFolds(table, 5, new Random(2))).not.toEqual(folds);
  });

  it('renumbers conversations and keeps everything else with them', () => {
    const part = selectConversations(matrix(12), (c) => c >= 6 && c % 2 === 0);
    expect(part.conversations.map(([message]) => message?.content)).toEqual(['6', '8', '10']);
    expect([...part.conversation]).toEqual([0, 0, 0, 1, 1, 1, 2, 2, 2]);
    expect([...(part.group ?? [])]).toEqual([1, 1, 1]);
    expect(part.category).toEqual(['odd', 'even', 'even']);
    expect([...(part.metrics.score ?? [])]).toEqual([0, 1, 0.5, 1, 0, 0.5, 1, 0, 0.5]);
  });

  it('draws every expert equally often', () => {
    const counts = [0, 0, 0];
    const table = matrix(600);
    for (let seed = 0; seed < 20; seed++)
      for (const e of drawLog(table, 'score', new Random(seed)).expert) counts[e] = (counts[e] as number) + 1;
    for (const count of counts) expect(Math.abs(count - 4000)).toBeLessThan(4 * Math.sqrt(12_000 * (2 / 9)));
  });
});

describe('best single expert', () => {
  const log = (records: [expert: number, y: number][]): OutcomeTable => ({
    conversations: records.map(() => []),
    experts: EXPERTS,
    conversation: Uint32Array.from(records.keys()),
    expert: Uint32Array.from(records, ([e]) => e),
    metrics: { rating: Float32Array.from(records, ([, y]) => y), retry: Float32Array.from(records, ([, y]) => y) },
  });

  it('is not won by one lucky outcome', () => {
    const noisy = (e: number, mean: number) => Array.from({ length: 40 }, (_, n): [number, number] => [e, mean + (n % 2 ? 1 : -1)]);
    expect(bestSingleExpert(log([...noisy(0, 3.5), ...noisy(1, 3), [2, 4]]), 'rating')).toBe(0);
  });

  it('is the lowest for retry, and needs an outcome', () => {
    expect(
      bestSingleExpert(
        log([
          [0, 1],
          [0, 1],
          [1, 0],
          [1, 0],
        ]),
        'retry',
      ),
    ).toBe(1);
    expect(() => bestSingleExpert(log([[0, Number.NaN]]), 'rating')).toThrow(/no outcome of rating/);
  });

  it('of a matrix is its best column mean', () => {
    const { rows, values } = outcomeMatrix(matrix(60), 'score');
    expect(rows.length).toBe(60);
    expect([...values.subarray(0, 6)]).toEqual([0, 1, 0.5, 1, 0, 0.5]);
    expect(bestSingleExpert(matrix(60), 'score')).toBe(0);
    const score = matrix(60).metrics.score?.map((y) => (y === 0.5 ? 0.6 : y)) as Float32Array;
    expect(bestSingleExpert({ ...matrix(60), metrics: { score } }, 'score')).toBe(0);
    expect(bestSingleExpert({ ...matrix(60), metrics: { score } }, 'score', { macro: true })).toBe(2);
  });
});

describe('intervals', () => {
  /** Approximately normal numbers: the sum of twelve uniform ones. */
  const normal = (random: Random) => Array.from({ length: 12 }, () => random.uniform()).reduce((a, b) => a + b) - 6;

  it('cover the true mean about as often as they claim', () => {
    let covered = 0;
    for (let trial = 0; trial < 200; trial++) {
      const random = new Random(1000 + trial);
      const numerator = Float64Array.from({ length: 80 }, () => normal(random));
      const { low, high } = interval(resample({ x: { numerator } }, { group: numerator.map((_, i) => i) }, { replicates: 300 }).x);
      if (low <= 0 && high >= 0) covered++;
    }
    expect(covered).toBeGreaterThan(178);
    expect(covered).toBeLessThan(199);
  });

  it('widen when units come in groups, and pair differences', () => {
    const random = new Random(5);
    const effect = Array.from({ length: 40 }, () => normal(random));
    const a = Float64Array.from({ length: 400 }, (_, i) => (effect[Math.floor(i / 10)] as number) + 0.1 * normal(random));
    const b = a.map((value) => value - 0.5);
    const width = (group: number[]) => {
      const { low, high } = interval(resample({ a: { numerator: a } }, { group }, { replicates: 500 }).a);
      return high - low;
    };
    const grouped = Array.from({ length: 400 }, (_, i) => Math.floor(i / 10));
    expect(width(grouped)).toBeGreaterThan(2.3 * width(grouped.map((_, i) => i)));
    const both = resample({ a: { numerator: a }, b: { numerator: b } }, { group: grouped }, { replicates: 500 });
    const difference = interval(both.a, both.b);
    expect(difference.low).toBeCloseTo(0.5);
    expect(difference.high).toBeCloseTo(0.5);
  });
});

describe('off-policy estimates', () => {
  it('are the formulae', () => {
    const estimate = estimateValue({ outcome: [1, 0, 1, Number.NaN], logged: [0.5, 0.25, 0.25, 0.5], target: [1, 1, 0, 1] });
    expect(estimate.ips.mean).toBeCloseTo(2 / 3);
    expect(estimate.snips.mean).toBeCloseTo(2 / 6);
    expect(estimate.effectiveSampleSize).toBeCloseTo(36 / 20);
    expect(estimate).toMatchObject({ records: 3, matched: 2, maxWeight: 4 });
  });

  it('recover the value of a policy that the log was not made by', async () => {
    const random = new Random(11);
    const whole = matrix(6000);
    // The logging policy prefers `even`; every choice has a chance.
    const chances = [0.6, 0.2, 0.2];
    const records = whole.conversations.map((_, c) => {
      const u = random.uniform();
      return { c, e: u < 0.6 ? 0 : u < 0.8 ? 1 : 2 };
    });
    const log: OutcomeTable = {
      ...whole,
      conversation: Uint32Array.from(records, ({ c }) => c),
      expert: Uint32Array.from(records, ({ e }) => e),
      metrics: { score: Float32Array.from(records, ({ c, e }) => whole.metrics.score?.[3 * c + e] as number) },
      propensity: Float32Array.from(records, ({ e }) => chances[e] as number),
    };
    const mixed: Fit = async (training, options) => {
      const base = await knowing(training, options);
      return async (conversations, context) =>
        (await base(conversations, context)).map(([best]) => [
          { expert: best?.expert as string, probability: 0.9 },
          { expert: 'middling', probability: 0.1 },
        ]);
    };
    const { values, bestSingleExperts } = await evaluateLog(log, mixed, { folds: 3, replicates: 400, objective: { score: 1 } });
    const { router, bestSingle, logged, random: uniform } = values.score ?? expect.fail('no score');
    for (const { ips, snips } of [router]) {
      for (const { mean, low, high } of [ips, snips]) {
        expect(mean).toBeCloseTo(0.95, 1);
        expect(low).toBeLessThan(0.95);
        expect(high).toBeGreaterThan(0.95);
      }
    }
    expect(bestSingle.snips.mean).toBeCloseTo(2 / 3, 1);
    expect(uniform.snips.mean).toBeCloseTo(0.5, 1);
    expect(logged.mean).toBeCloseTo(0.6 * (2 / 3) + 0.2 / 3 + 0.1, 1);
    expect(router.effectiveSampleSize).toBeGreaterThan(1000);
    expect(bestSingleExperts).toEqual({ even: 3 });
    expect(Object.keys(values)).toEqual(['score', 'utility']);
  });

  it('warn where the weights cannot be those of the log', async () => {
    const whole = matrix(900);
    const n = whole.conversations.length;
    const random = new Random(3);
    const expert = Uint32Array.from({ length: n }, () => random.below(3));
    const log = (propensity: number): OutcomeTable => ({
      ...whole,
      conversation: Uint32Array.from({ length: n }, (_, c) => c),
      expert,
      metrics: { score: Float32Array.from(expert, (e, c) => whole.metrics.score?.[3 * c + e] as number) },
      propensity: new Float32Array(n).fill(propensity),
    });
    const of = (propensity: number) => evaluateLog(log(propensity), knowing, { folds: 2, replicates: 200 });
    const honest = await of(1 / 3);
    expect(honest.warnings).toEqual([]);
    expect(honest.values.score?.router.meanWeight.mean).toBeCloseTo(1, 0);
    expect((await of(1)).warnings).toEqual([expect.stringMatching(/average 1, here 0\.3\d for the router/)]);
    expect((await of(0.01)).warnings).toEqual([expect.stringMatching(/for the router, .* for random choice: the propensities are not/)]);
  });

  it('say how many groups there are for the folds', () => {
    const folds = (groups: number, count: number) => () => groupFolds(matrix(6 * groups), count, new Random(0));
    expect(folds(3, 5)).toThrow(/only 3 groups of conversations, too few for 5 folds: ask for at most 3 \(--folds\)/);
    expect(folds(1, 2)).toThrow(/only 1 group of conversations, which cannot be divided/);
  });

  it('need propensities in (0, 1]', async () => {
    expect(() => estimateValue({ outcome: [1], logged: [0], target: [1] })).toThrow(/\(0, 1\]/);
    expect(() => estimateValue({ outcome: [1], logged: [1], target: [1.5] })).toThrow(/\[0, 1\]/);
    expect(() => estimateValue({ outcome: [Number.NaN], logged: [1], target: [1] })).toThrow(/no record/);
    await expect(evaluateLog(matrix(30), knowing)).rejects.toMatchObject({ code: 'NOT_ENOUGH_DATA' });
  });
});
