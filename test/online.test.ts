/** New versions while requests and outcomes come in, and going on beside learning anew. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { goOn } from '../src/cli/predict.js';
import { evaluateOnline, type Fit } from '../src/evaluate/index.js';
import { LearnedModel, learn, OnlineLearner, tableOf } from '../src/learn/index.js';
import { Random } from '../src/random.js';
import { Router } from '../src/route/index.js';
import type { Interaction, ScoreTable } from '../src/types.js';
import { cli } from './terminal.js';

const say = (content: string) => [{ role: 'user', content }];
const KINDS = ['poem', 'proof', 'recipe'];
const EXPERTS = ['a', 'b', 'c', 'd', 'e', 'f'];
/** Everyone is good at one kind; the later an expert joins, the better it is there. */
const skill = (expert: number, kind: number) => (expert % 3 === kind ? 0.6 + 0.06 * expert : 0.4);

function drawLog(count: number, random: Random, experts = EXPERTS.length): Interaction[] {
  return Array.from({ length: count }, () => {
    const [kind, expert] = [random.below(3), random.below(experts)];
    const score = random.uniform() < skill(expert, kind) ? 1 : 0;
    return { conversation: say(`a ${KINDS[kind]} about ${random.below(60)}`), expert: EXPERTS[expert] as string, score };
  });
}

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pointsman-online-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('a new version', () => {
  const asked = KINDS.map((kind) => say(`a ${kind} about 3`));

  it('is due when outcomes have grown by half', async () => {
    const random = new Random(1);
    const learner = await OnlineLearner.start(await learn(drawLog(200, random)));
    await learner.update(drawLog(99, random));
    expect([learner.updates, learner.due(), learner.due(1.4)]).toEqual([99, false, true]);
    await learner.update(drawLog(1, random));
    expect(learner.due()).toBe(true);
    expect(() => learner.due(1)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
  });

  it('takes the place of the old one whole: router, names, experts without outcomes, what came in meanwhile', async () => {
    const random = new Random(2);
    const log = drawLog(600, random, 4);
    const first = await learn(log.slice(0, 120));
    const learner = await OnlineLearner.start(first);
    const router = await Router.from(learner);
    await learner.update(log.slice(120));
    await learner.add('untried');
    const [before] = await router.route(asked);
    expect(before?.modelVersion).toBe(first.version);

    const meanwhile = drawLog(50, random, 6);
    const late = learner.update(log.slice(0, 0)); // given before: the log's affair
    const fitting = learner.refit(log);
    await expect(learner.refit(log)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    const during = router.route(asked);
    const taken = learner.update(meanwhile);
    expect((await during)[0]?.modelVersion).toBe(first.version);
    await Promise.all([late, taken]);
    const second = await fitting;

    expect(second.version).not.toBe(first.version);
    expect(second.version).toBe((await learn(log)).version); // the same learning, nothing mixed in
    expect(learner.model).toBe(second);
    expect(learner.updates).toBe(50);
    const [after] = await router.route(asked);
    expect(after?.modelVersion).toBe(second.version);
    expect(router.dimensionNames).toEqual(second.dimensionNames);
    // The same as going on from the second model alone.
    const alone = await OnlineLearner.start(second);
    await alone.add('untried');
    await alone.update(meanwhile);
    expect([...learner.index.ids()].sort()).toEqual([...alone.index.ids()].sort());
    for (const id of alone.index.ids()) expect(learner.index.vector(id)).toEqual(alone.index.vector(id));

    // Old decisions: what their numbers are about, and outcomes that come late.
    const made = learner.versions.find(({ version }) => version === before?.modelVersion);
    expect(made).toEqual({
      version: first.version,
      metrics: ['score'],
      dimensionNames: first.dimensionNames,
      outcomes: 120,
      updates: 530,
    });
    expect(made?.dimensionNames).toHaveLength(before?.projection.length as number);
    expect(learner.versions.at(-1)).toMatchObject({ version: second.version, outcomes: 600, updates: 50 });
    await learner.update([{ conversation: before?.conversation ?? [], expert: before?.expert as string, score: 1 }]);
    expect(learner.updates).toBe(51);

    await second.save(join(folder, 'second'));
    await learner.save(join(folder, 'state'));
    const again = await OnlineLearner.open(join(folder, 'state'), await LearnedModel.open(join(folder, 'second')));
    expect(again.versions).toEqual(learner.versions);
    for (const id of alone.index.ids()) expect(again.index.vector(id)).toEqual(learner.index.vector(id));
    await expect(OnlineLearner.open(join(folder, 'state'), first)).rejects.toMatchObject({ code: 'FILE_VERSION' });
  });

  it('that cannot be learned leaves the old one, and nothing is lost', async () => {
    const random = new Random(3);
    const learner = await OnlineLearner.start(await learn(drawLog(200, random)));
    const { model, index } = learner;
    await expect(learner.refit([])).rejects.toMatchObject({ code: 'NOT_ENOUGH_DATA' });
    await expect(learner.refit(7 as never)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    const stop = new AbortController();
    const fitting = learner.refit(drawLog(500, random), { signal: stop.signal });
    await learner.update(drawLog(20, random));
    stop.abort();
    await expect(fitting).rejects.toMatchObject({ code: 'ABORTED' });
    // A version that lacks a metric which outcomes meanwhile have.
    const stars = drawLog(200, random).map(({ score, ...rest }) => ({ ...rest, rating: score ? 5 : 2 }));
    const other = learner.refit(stars);
    await learner.update(drawLog(10, random));
    await expect(other).rejects.toMatchObject({ code: 'BAD_ARGUMENT', message: expect.stringMatching(/no metric 'score'/) });
    expect(learner.model).toBe(model);
    expect(learner.index).toBe(index);
    expect(learner.updates).toBe(30);
    expect(learner.versions).toHaveLength(1);
    await learner.refit(drawLog(300, random));
    expect(learner.model).not.toBe(model);
  });

  it('keeps scores of experts that have no outcome, and lets the outcomes of its log grow old', async () => {
    const random = new Random(4);
    const day = 86_400_000;
    const experts = Array.from({ length: 40 }, (_, e) => `expert ${e}`);
    const merit = experts.map(() => random.normal());
    const scores: ScoreTable = { dimensions: ['merit'], experts, scores: Float32Array.from(merit) };
    const draw = (count: number): Interaction[] =>
      Array.from({ length: count }, (_, i) => {
        const e = random.below(40);
        const score = random.uniform() < 1 / (1 + Math.exp(-(merit[e] as number))) ? 1 : 0;
        const at = new Date(Date.UTC(2026, 0, 1) + (i * 30 * day) / count).toISOString();
        return { conversation: say(`number ${random.below(100)}`), expert: experts[e] as string, score, at };
      });
    const log = draw(1500);
    const learner = await OnlineLearner.start(await learn(log.slice(0, 700), { content: scores }), { halfLife: 5 * day });
    await learner.update(log.slice(700));
    await learner.add('promising', [3]);
    await expect(learner.add('odd', [1, 2])).rejects.toMatchObject({ code: 'WRONG_SHAPE' });
    await learner.refit(log, { content: scores });
    const psi = (await learner.model.encoder.encode([say('number 7')])).slice();
    const scoreOf = (expert: string) => {
      const query = learner.model.queryVectors(psi, { score: 1 });
      return (learner.index.vector(expert) as Float32Array).reduce((sum, x, j) => sum + x * (query[j] as number), 0);
    };
    const middle = experts.reduce((sum, expert) => sum + scoreOf(expert), 0) / experts.length;
    expect(scoreOf('promising')).toBeGreaterThan(middle);
    const sure = learner.deviation('expert 0', psi, { score: 1 });
    await learner.age(Date.UTC(2026, 2, 1));
    expect(learner.deviation('expert 0', psi, { score: 1 })).toBeGreaterThan(sure);
    await expect(learner.refit(log.map(({ at: _, ...rest }) => rest))).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  });
});

describe('beside learning anew', () => {
  const noisy = (mean: number, random: Random) => Math.min(1, Math.max(0, mean + 0.25 * random.normal()));
  /** Every expert's outcome on each prompt. */
  const matrix = () => {
    const random = new Random(9);
    return tableOf(
      Array.from({ length: 600 }, (_, i) => {
        const kind = i % 3;
        const conversation = say(`a ${KINDS[kind]} about ${random.below(60)} and ${i}`);
        return EXPERTS.map((expert, e): Interaction => ({ conversation, expert, score: noisy(skill(e, kind), random) }));
      }).flat(),
    );
  };
  const anew: Fit = async (training, options) => {
    const router = await Router.from(await learn(training, { ...options, beliefs: false }));
    return async (conversations) => (await router.route(conversations, { k: 1 })).map(({ expert }) => [{ expert, probability: 1 }]);
  };

  it('going on stays within 2% while experts join, where without new versions it does not', async () => {
    const options = { seeds: [1], every: 150, points: 4, replicates: 200 };
    const found = await evaluateOnline(matrix(), goOn(undefined, undefined, 1.5), anew, options);
    expect(found.curve.map(({ outcomes }) => outcomes)).toEqual([150, 300, 450, 600, 750]);
    expect(found.curve.map(({ learnedAnew }) => learnedAnew)).toEqual([0, 1, 1, 0, 1]);
    expect(found.worst).toBeLessThan(0.02);
    for (const { learnedAnew, online, retrained, oracle, difference } of found.curve) {
      if (learnedAnew === 1) expect(online).toBe(retrained); // the same learning on the same outcomes
      expect(oracle).toBeGreaterThan(retrained);
      expect(difference.mean).toBeCloseTo(online / retrained - 1, 10);
      expect(difference.low).toBeLessThanOrEqual(difference.mean);
    }
    const frozen = await evaluateOnline(matrix(), goOn(undefined, undefined, undefined), anew, options);
    expect(frozen.curve.every(({ learnedAnew }) => learnedAnew === 0)).toBe(true);
    expect(frozen.worst).toBeGreaterThan(0.02);
    expect(frozen.regret).toBeGreaterThan(found.regret);
  }, 120_000);

  it.each([
    [['--growth', '1'], /--growth must be above 1, not 1/],
    [['--growth', 'often'], /--growth must be a number or 'none', not 'often'/],
  ])('evaluate %j is a slip', async (args, message) => {
    const { err } = await cli(['evaluate', '--data', 'nowhere', '--protocol', 'online', ...args]);
    expect(err).toMatch(message);
    expect(err).toContain('(USAGE)');
  });
});
