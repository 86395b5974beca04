/** Thompson sampling: the probabilities of being best, and a router that chooses by them. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { estimateValue } from '../src/evaluate/index.js';
import { type LearnedModel, learn, learnFromScores, OnlineLearner } from '../src/learn/index.js';
import { Random } from '../src/random.js';
import { Router } from '../src/route/index.js';
import { probabilitiesOfBest } from '../src/route/thompson.js';
import type { Interaction } from '../src/types.js';
import { cli } from './terminal.js';

const say = (content: string) => [{ role: 'user', content }];
const KINDS = ['poem', 'proof'] as const;
/** Of each expert, the probability of a good answer by kind. */
const SKILL = { a: [0.7, 0.45], b: [0.5, 0.65], c: [0.55, 0.55], d: [0.3, 0.3] };
const EXPERTS = Object.keys(SKILL) as (keyof typeof SKILL)[];

function drawLog(count: number, random: Random, experts: readonly string[] = EXPERTS): Interaction[] {
  return Array.from({ length: count }, () => {
    const kind = random.below(2);
    const expert = experts[random.below(experts.length)] as keyof typeof SKILL;
    const score = random.uniform() < (SKILL[expert][kind] as number) ? 1 : 0;
    return { conversation: say(`a ${KINDS[kind]} about ${random.below(40)}`), expert, score };
  });
}

let folder: string;
let model: LearnedModel;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pointsman-thompson-'));
  model = await learn(drawLog(500, new Random(1)));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('the probability of being best', () => {
  const random = new Random(11);
  const many = Array.from({ length: 60 }, () => 0.1 * random.normal());
  it.each<[string, number[], number[]]>([
    ['of equals', [0, 0, 0], [1, 1, 1]],
    ['of one that is known well among others', [1, 0.9, 0.5], [0.001, 0.4, 1]],
    ['of one that is certain', [0.3, 0.2, 0], [0, 0.5, 0.05]],
    ['where one is far behind', [2, 1.5, -40], [0.3, 0.3, 1]],
    ['where spreads are very unlike', [0, 0.001, 0.002], [1e-6, 1e-3, 10]],
    ['of sixty', many, many.map((_, m) => 0.02 + 0.01 * (m % 7))],
  ])('%s is how often it is drawn highest', (_, means, deviations) => {
    const found = probabilitiesOfBest(means, deviations);
    expect(found.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 12);
    const rounds = 200_000;
    const won = means.map(() => 0);
    const draws = new Random(3);
    for (let n = 0; n < rounds; n++) {
      let [best, top] = [0, Number.NEGATIVE_INFINITY];
      for (const [m, mean] of means.entries()) {
        const score = mean + (deviations[m] as number) * draws.normal();
        if (score > top) [best, top] = [m, score];
      }
      won[best] = (won[best] as number) + 1;
    }
    // Four standard errors of the draws, and a thousandth for the grid.
    for (const [m, p] of found.entries()) {
      expect(p).toBeGreaterThanOrEqual(0);
      const off = Math.abs(p - (won[m] as number) / rounds);
      expect(off).toBeLessThan(1e-3 + 4 * Math.sqrt((p * (1 - p)) / rounds));
    }
  });

  it('of two is Φ of their difference in deviations', () => {
    for (const [mean, phi] of [
      [0, 0.5],
      [1, 0.8413447460685429],
      [2, 0.9772498680518208],
    ] as const) {
      expect(probabilitiesOfBest([0.6 * mean, 0, -50], [0.36 ** 0.5 * 0.6, 0.48, 0.01])[0]).toBeCloseTo(phi, 3);
    }
  });

  it('with certainty goes to the best, the first of several', () => {
    expect(probabilitiesOfBest([3, 3, 1], [0, 0, 0])).toEqual([1, 0, 0]);
    expect(probabilitiesOfBest([-1e9], [0])).toEqual([1]);
    expect(probabilitiesOfBest([], [])).toEqual([]);
    expect(probabilitiesOfBest([1, 0], [1e-9, 1e-9])[0]).toBe(1);
  });
});

describe('a router', () => {
  it('chooses each expert as often as draws from its posterior make it the best', async () => {
    const learner = await OnlineLearner.start(model);
    const router = await Router.from(learner);
    const asked = say('a poem about 3');
    const rounds = 5000;
    const decisions = await router.route(new Array(rounds).fill(asked), { k: 4, explore: { policy: 'thompson' }, seed: 5 });
    expect(await router.route([asked], { k: 4, explore: { policy: 'thompson' }, seed: 5 })).toMatchObject([
      { expert: decisions[0]?.expert },
    ]);
    const [first] = decisions;
    expect(first?.policy).toEqual({ name: 'thompson', among: 4 });
    // Whole vectors, drawn from what is believed of each expert: another way to the same probabilities.
    const psi = await model.encoder.encode([asked]);
    const query = model.queryVectors(psi, { score: 1 });
    const best = new Map<string, number>();
    for (let n = 0; n < rounds; n++) {
      let [name, top] = ['', Number.NEGATIVE_INFINITY];
      for (const [e, expert] of EXPERTS.entries()) {
        const score = learner.draw(expert, 4 * n + e).reduce((sum, x, j) => sum + x * (query[j] as number), 0);
        if (score > top) [name, top] = [expert, score];
      }
      best.set(name, (best.get(name) ?? 0) + 1);
    }
    for (const { expert, propensity, deviation, score } of first?.candidates ?? []) {
      const margin = 1e-3 + 4 * Math.sqrt((propensity * (1 - propensity)) / rounds);
      const chosen = decisions.filter((decision) => decision.expert === expert).length / rounds;
      expect(Math.abs(chosen - propensity), `how often ${expert} was chosen`).toBeLessThan(margin);
      expect(Math.abs((best.get(expert) ?? 0) / rounds - propensity), `how often ${expert} was best`).toBeLessThan(margin);
      expect(deviation).toBeCloseTo(learner.deviation(expert, psi, { score: 1 }), 10);
      expect(Number.isFinite(score)).toBe(true);
    }
    expect((first?.candidates ?? []).filter(({ propensity }) => propensity > 0.02).length).toBeGreaterThan(1);
  });

  it('that is certain is greedy', async () => {
    const parts = { encoder: model.encoder, scorer: await model.index(), space: model };
    const certain = new Router({ ...parts, uncertainty: { deviation: () => 0 } });
    const asked = Array.from({ length: 30 }, (_, i) => say(`a ${KINDS[i % 2]} about ${i}`));
    const bySampling = await certain.route(asked, { explore: { policy: 'thompson' } });
    const byMean = await certain.route(asked);
    expect(bySampling.map(({ expert }) => expert)).toEqual(byMean.map(({ expert }) => expert));
    expect(bySampling.every(({ propensity }) => propensity === 1)).toBe(true);
  });

  it('lists what takes part, and leaves the rest without a chance', async () => {
    const router = await Router.from(model);
    const [decision] = await router.route([say('a proof')], { k: 4, explore: { policy: 'thompson', among: 2 }, seed: 1 });
    const candidates = decision?.candidates ?? [];
    expect(candidates.map(({ deviation }) => deviation !== undefined)).toEqual([true, true, false, false]);
    expect((candidates[0]?.propensity as number) + (candidates[1]?.propensity as number)).toBeCloseTo(1, 12);
    expect(candidates.slice(2).map(({ propensity }) => propensity)).toEqual([0, 0]);
  });

  it('leaves a log from which another policy can be valued', async () => {
    const router = await Router.from(model);
    const random = new Random(21);
    const kinds = Array.from({ length: 3000 }, () => random.below(2));
    const decisions = await router.route(
      kinds.map((kind) => say(`a ${KINDS[kind]} about ${random.below(40)}`)),
      { k: 4, explore: { policy: 'thompson' }, seed: 8 },
    );
    const truth = (expert: string, kind: number) => SKILL[expert as keyof typeof SKILL][kind] as number;
    const outcome = decisions.map(({ expert }, i) => (random.uniform() < truth(expert, kinds[i] as number) ? 1 : 0));
    // To be valued: the best by the mean where it is sure enough, else the runner-up with a chance of a third.
    const target = decisions.map(({ expert, candidates }) =>
      expert === candidates[0]?.expert ? 2 / 3 : expert === candidates[1]?.expert ? 1 / 3 : 0,
    );
    const value = decisions.reduce((sum, { candidates }, i) => {
      const of = (rank: number) => truth(candidates[rank]?.expert as string, kinds[i] as number);
      return sum + (2 / 3) * of(0) + (1 / 3) * of(1);
    }, 0);
    const { snips, meanWeight } = estimateValue({ outcome, target, logged: decisions.map(({ propensity }) => propensity) });
    expect(meanWeight.low).toBeLessThan(1);
    expect(meanWeight.high).toBeGreaterThan(1);
    expect(snips.low).toBeLessThan(value / decisions.length);
    expect(snips.high).toBeGreaterThan(value / decisions.length);
  });

  it('finds out about a newcomer that greed never tries', async () => {
    const few = await learn(drawLog(400, new Random(2), ['b', 'c', 'd']));
    const earned = async (explore: { policy: 'thompson' } | undefined) => {
      const learner = await OnlineLearner.start(few);
      await learner.add('a');
      const router = await Router.from(learner);
      const random = new Random(4);
      let tried = 0;
      for (let round = 0; round < 40; round++) {
        const kinds = Array.from({ length: 25 }, () => random.below(2));
        const asked = kinds.map((kind) => say(`a ${KINDS[kind]} about ${random.below(40)}`));
        const decisions = await router.route(asked, { k: 4, explore, seed: round });
        const outcomes = decisions.map(({ expert, conversation }, i): Interaction => {
          const score = random.uniform() < (SKILL[expert as keyof typeof SKILL][kinds[i] as number] as number) ? 1 : 0;
          return { conversation, expert, score };
        });
        await learner.update(outcomes);
        if (round >= 30) tried += decisions.filter(({ expert }, i) => expert === 'a' && kinds[i] === 0).length / decisions.length / 10;
      }
      return tried;
    };
    expect(await earned({ policy: 'thompson' })).toBeGreaterThan(await earned(undefined));
  });
});

describe('what cannot be', () => {
  it.each<[string, object]>([
    ['BAD_ARGUMENT', { policy: 'thomson' }],
    ['BAD_ARGUMENT', { policy: 'thompson', epsilon: 0.1 }],
    ['BAD_ARGUMENT', { policy: 'thompson', among: 0 }],
    ['BAD_ARGUMENT', { policy: 'thompson', among: 5000 }],
    ['BAD_ARGUMENT', {}],
  ])('%s: explore %j', async (code, explore) => {
    const router = await Router.from(model);
    await expect(router.route([say('x')], { explore: explore as never })).rejects.toMatchObject({ name: 'PointsmanError', code });
    await expect(router.route([say('x')], { explore: null as never })).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  });

  it('a model without beliefs, parts without uncertainty, an expert that nothing is believed of', async () => {
    const thompson = { explore: { policy: 'thompson' } } as const;
    const without = await learn(drawLog(300, new Random(1)), { beliefs: false });
    await expect((await Router.from(without)).route([say('x')], thompson)).rejects.toMatchObject({ code: 'NO_BELIEFS' });
    const parts = { encoder: model.encoder, scorer: await model.index(), space: model };
    await expect(new Router(parts).route([say('x')], thompson)).rejects.toMatchObject({ code: 'NO_BELIEFS' });
    const unsure = new Router({ ...parts, uncertainty: { deviation: () => Number.POSITIVE_INFINITY } });
    await expect(unsure.route([say('x')], thompson)).rejects.toMatchObject({ code: 'NO_BELIEFS' });
    expect(() => new Router({ ...parts, uncertainty: {} as never })).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
    const index = await model.index();
    await index.upsert(['stranger'], new Float32Array(index.dimensions).fill(1));
    const strange = new Router({ ...parts, scorer: index, uncertainty: model });
    await expect(strange.route([say('x')], thompson)).rejects.toMatchObject({ code: 'UNKNOWN_EXPERT' });
  });
});

describe('the command', () => {
  it('route --explore thompson, with a seed, among some', async () => {
    const path = join(folder, 'model');
    await model.save(path);
    const route = (...args: string[]) => cli(['route', '--model', path, 'a poem about 3', ...args]);
    const [decision] = JSON.parse((await route('--explore', 'thompson', '--among', '3', '--seed', '4', '--json')).out);
    expect(decision.policy).toEqual({ name: 'thompson', among: 3 });
    expect(decision.candidates.filter(({ deviation }: { deviation?: number }) => (deviation as number) > 0)).toHaveLength(3);
    expect((await route('--explore', 'thompson', '--seed', '4')).out).toMatch(/chosen as +one of 4, as likely as it is to be the best/);
    expect((await route('--explore', 'tompson')).err).toMatch(/--explore must be a number or 'thompson', not 'tompson'.*\(USAGE\)/);
    expect((await route('--among', '3')).err).toMatch(/--among needs --explore/);
  });

  it('of a model from scores alone says that it has no beliefs', async () => {
    const scores = { dimensions: ['x'], experts: ['a', 'b'], scores: Float32Array.of(0.1, 0.2) };
    const path = join(folder, 'scores');
    await (await learnFromScores(scores, { attribute: 'kind' })).save(path);
    const { err, code } = await cli(['route', '--model', path, 'x', '--explore', 'thompson']);
    expect(err).toContain('(NO_BELIEFS)');
    expect(code).toBe(1);
  });
});
