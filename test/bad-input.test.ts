/** What learning and going on may be given by mistake: each a clear error, or what the documentation says happens. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EndpointEncoder } from '../src/encode/index.js';
import { crossValidate, evaluateLog, trainTest } from '../src/evaluate/index.js';
import {
  Factorisation,
  factorise,
  interactionsOf,
  LearnedModel,
  learn,
  OnlineLearner,
  readInteractions,
  readOutcomeMatrix,
  readPreferences,
  readScoreTable,
  readTranscripts,
  tableOf,
  writeInteractionFile,
} from '../src/learn/index.js';
import { Random } from '../src/random.js';
import { Router } from '../src/route/index.js';
import type { Interaction, OutcomeTable, ScoreTable } from '../src/types.js';
import { cli } from './terminal.js';

const say = (content: string) => [{ role: 'user', content }];
const EXPERTS = ['a', 'b', 'c', 'd'];
const drawLog = (count: number, random = new Random(1)): Interaction[] =>
  Array.from({ length: count }, (_, i) => {
    const e = i % EXPERTS.length;
    return {
      conversation: say(`question ${random.below(40)}`),
      expert: EXPERTS[e] as string,
      rating: 1 + random.below(3) + (e % 3),
      retry: random.uniform() < 0.2 + 0.1 * e,
    };
  });

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pointsman-bad-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('an unknown metric', () => {
  it('in a table, in later outcomes, in an objective', async () => {
    const table = tableOf(drawLog(80));
    const speed = new Float32Array(80).fill(1);
    const odd = { ...table, metrics: { ...table.metrics, speed } } as OutcomeTable;
    await expect(learn(odd)).rejects.toMatchObject({ code: 'BAD_ARGUMENT', message: expect.stringMatching(/'speed'/) });
    const model = await learn(table);
    const learner = await OnlineLearner.start(model);
    await expect(learner.update([{ conversation: say('x'), expert: 'a', score: 1 }])).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
      message: expect.stringMatching(/no metric 'score', only/),
    });
    expect(learner.updates).toBe(0);
    const router = await Router.from(model);
    await expect(router.route([say('x')], { objective: { speed: 1 } as never })).rejects.toMatchObject({ code: 'BAD_OBJECTIVE' });
  });
});

describe('contradictory weights', () => {
  it.each([
    ['retry=-1,retry=1', /weighs retry twice/],
    ['retry=-1,rating', /must look like/],
    ['rating=much', /must look like/],
  ])('%s', async (given, message) => {
    const { err, code } = await cli(['route', '--model', 'nowhere', 'x', '--objective', given]);
    expect(err).toMatch(message);
    expect(err).toContain('(USAGE)');
    expect(code).toBe(2);
  });

  it('that cancel out, or point the wrong way, do what they say', async () => {
    const router = await Router.from(await learn(drawLog(400)));
    await expect(router.route([say('x')], { objective: { retry: 0, rating: 0 } })).rejects.toMatchObject({ code: 'BAD_OBJECTIVE' });
    const [kind] = await router.route([say('question 3')], { objective: { retry: -1 }, k: 4 });
    const [unkind] = await router.route([say('question 3')], { objective: { retry: 1 }, k: 4 });
    expect(unkind?.candidates.map(({ expert }) => expert)).toEqual(kind?.candidates.map(({ expert }) => expert).reverse());
  });
});

describe('ratings out of range', () => {
  it.each([0, 5.5, Number.NaN, Number.POSITIVE_INFINITY])('%d, in a log and in later outcomes', async (rating) => {
    const bad = { conversation: say('x'), expert: 'a', rating };
    await expect(learn([...drawLog(40), bad])).rejects.toMatchObject({
      code: 'BAD_DATA',
      message: expect.stringMatching(/interaction 41: rating/),
    });
    const learner = await OnlineLearner.start(await learn(drawLog(80)));
    const before = learner.index.vector('a');
    await expect(learner.update([...drawLog(3), bad])).rejects.toMatchObject({ code: 'BAD_DATA' });
    expect(learner.updates).toBe(0); // all or nothing
    expect(learner.index.vector('a')).toEqual(before);
  });

  it('in a table', async () => {
    const table = tableOf(drawLog(80));
    const rating = (table.metrics.rating as Float32Array).slice();
    rating[7] = 9;
    await expect(learn({ ...table, metrics: { ...table.metrics, rating } })).rejects.toMatchObject({ code: 'BAD_DATA' });
  });
});

describe('an expert with no outcomes', () => {
  it('is not in the model, joins by itself, and starts from the population', async () => {
    const table = tableOf(drawLog(80));
    const model = await learn({ ...table, experts: [...table.experts, 'unheard'] });
    const learner = await OnlineLearner.start(model);
    expect(learner.index.has('unheard')).toBe(false);
    await learner.add('unheard');
    const psi = await model.encoder.encode([say('question 3')]);
    const unsure = learner.deviation('unheard', psi, { rating: 1 });
    expect(unsure).toBeGreaterThan(learner.deviation('a', psi, { rating: 1 }));
    await expect(learner.add('unheard')).rejects.toMatchObject({ code: 'DUPLICATE_ID' });
    await expect(learner.add('')).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    expect(() => learner.deviation('nobody', psi, { rating: 1 })).toThrow(expect.objectContaining({ code: 'UNKNOWN_EXPERT' }));
    expect(() => learner.draw('nobody', 1)).toThrow(expect.objectContaining({ code: 'UNKNOWN_EXPERT' }));
  });
});

describe('a feature table with holes', () => {
  const scores = (...values: number[]): ScoreTable => ({ dimensions: ['x', 'y'], experts: EXPERTS, scores: Float32Array.from(values) });
  const { NaN: hole } = Number;

  it('is filled; an expert without any score has the widest prior; a dimension of holes alone is an error', async () => {
    const model = await learn(drawLog(400), { content: scores(0.1, 0.9, 0.5, hole, 0.7, 0.3, hole, hole) });
    const { ids, vectors, dimensions } = model.expertVectors();
    expect(ids).toEqual(EXPERTS);
    expect(vectors.every(Number.isFinite)).toBe(true);
    // Without scores: the means of the table.
    expect(vectors[3 * dimensions]).toBeCloseTo((0.1 + 0.5 + 0.7) / 3, 5);
    expect(vectors[3 * dimensions + 1]).toBeCloseTo((0.9 + 0.3) / 2, 5);
    const learner = await OnlineLearner.start(model);
    await learner.add('with', [0.4, 0.6]);
    await learner.add('half', [0.4, hole]);
    await learner.add('without');
    const psi = await model.encoder.encode([say('question 3')]);
    const [all, some, none] = ['with', 'half', 'without'].map((id) => learner.deviation(id, psi, { rating: 1 })) as [
      number,
      number,
      number,
    ];
    expect(some).toBeGreaterThanOrEqual(all);
    expect(none).toBeGreaterThanOrEqual(some);
    await expect(learn(drawLog(400), { content: scores(0.1, hole, 0.5, hole, 0.7, hole, 0.2, hole) })).rejects.toMatchObject({
      code: 'NOT_ENOUGH_DATA',
      message: expect.stringMatching(/no score in the dimension 'y'/),
    });
    await expect(learner.add('endless', [Number.POSITIVE_INFINITY, 0])).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  });
});

describe('options that are null', () => {
  it('in whatever takes options', async () => {
    const none = null as never;
    const table = tableOf(drawLog(40));
    const model = await learn(table);
    const learner = await OnlineLearner.start(model);
    const taste = await factorise([{ user: 'u', expert: 'e' }], { factors: 1, sweeps: 1 });
    const path = join(folder, 'nothing');
    const calls: (() => unknown)[] = [
      () => model.save(path, none),
      () => model.index(none),
      () => LearnedModel.open(path, none),
      () => model.encoder.encode([say('Hi')], none),
      () => Router.open(path, none),
      () => Router.from(model, none),
      () => learner.update([], none),
      () => learner.age(1, none),
      () => learner.refit(table, none),
      () => taste.index(none),
      () => taste.save(path, none),
      () => Factorisation.open(path, none),
      () => taste.foldIn([], none),
      () => readInteractions(path, none),
      () => readOutcomeMatrix(path, none),
      () => readPreferences(path, none),
      () => readScoreTable(path, none),
      () => readTranscripts(path, none),
      () => interactionsOf([], none),
      () => writeInteractionFile(path, path, none),
      () => crossValidate(table, async () => async () => [], none),
      () => trainTest(table, async () => async () => [], none),
      () => evaluateLog(table, async () => async () => [], none),
      () => EndpointEncoder.open({ baseUrl: 'http://127.0.0.1:9/v1', model: 'm', dimensions: 3 }, none),
    ];
    for (const act of calls) {
      await expect((async () => act())(), String(act)).rejects.toMatchObject({
        code: 'BAD_ARGUMENT',
        message: expect.stringContaining('must be an object, not null'),
      });
    }
  });
});

describe('files of another version', () => {
  it('a checkpoint, and a state', async () => {
    const path = join(folder, 'run.checkpoint');
    const tastes = Array.from({ length: 200 }, (_, i) => ({ user: `u${i % 20}`, expert: `e${(i * 7) % 30}` }));
    const options = { factors: 4, checkpoint: path };
    await factorise(tastes, { ...options, sweeps: 1 });
    const whole = await readFile(path);
    const other = Buffer.from(whole);
    other.writeUInt32LE(other.readUInt32LE(8) + 1, 8);
    await writeFile(path, other);
    await expect(factorise(tastes, { ...options, sweeps: 2, resume: true })).rejects.toMatchObject({ code: 'FILE_VERSION' });
    expect(await readFile(path)).toEqual(other); // it is not written over
    await writeFile(path, whole);
    expect((await factorise(tastes, { ...options, sweeps: 2, resume: true })).sweeps).toBe(1);

    const model = await learn(drawLog(80));
    const state = join(folder, 'state');
    await (await OnlineLearner.start(model)).save(state);
    await expect(OnlineLearner.open(state, await learn(drawLog(120)))).rejects.toMatchObject({ code: 'FILE_VERSION' });
  });
});
