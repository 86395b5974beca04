/** Content features, attributes, the hierarchical model of experts and learning that goes on online. */
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { completeCells } from '../src/learn/cells.js';
import { contentOf, contentParameters } from '../src/learn/content.js';
import { LearnedModel, learn, learnFromScores, OnlineLearner, readScoreTable, tableOf, writeScoreTable } from '../src/learn/index.js';
import { Posterior } from '../src/learn/posterior.js';
import { Random } from '../src/random.js';
import { Router } from '../src/route/index.js';
import type { Interaction, ScoreTable } from '../src/types.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pointsman-hybrid-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const KINDS = ['creative', 'factual'] as const;
const say = (content: string) => [{ role: 'user', content }];
const WORDS = { creative: ['poem', 'story', 'rhyme', 'dragon'], factual: ['capital', 'year', 'distance', 'population'] };

/** Experts with true skills in two kinds; the table knows them but for a little noise. */
function world(seed: number, size = 12) {
  const random = new Random(seed);
  const experts = Array.from({ length: size }, (_, e) => `expert ${e}`);
  const skill = experts.map(() => KINDS.map(() => 0.15 + 0.7 * random.uniform()));
  const scores: ScoreTable = { dimensions: KINDS, experts, scores: Float32Array.from(skill.flat(), (s) => s + 0.02 * random.normal()) };
  const draw = (count: number, among: number[], categories: boolean): Interaction[] =>
    Array.from({ length: count }, () => {
      const kind = random.below(2);
      const name = KINDS[kind] as (typeof KINDS)[number];
      const expert = among[random.below(among.length)] as number;
      const text = `about ${WORDS[name][random.below(4)]} ${WORDS[name][random.below(4)]} ${random.below(50)}`;
      return {
        conversation: say(text),
        expert: experts[expert] as string,
        score: random.uniform() < (skill[expert]?.[kind] as number) ? 1 : 0,
        ...(categories && { attributes: { kind: name } }),
      };
    });
  return { experts, skill, scores, draw };
}

describe('score tables', () => {
  const table: ScoreTable = {
    dimensions: ['plain', 'with, comma'],
    experts: ['a', 'b "quoted", and more', 'c\nd'],
    scores: Float32Array.of(0.5, Number.NaN, -1, 2, 0.1, 0),
  };

  it('are written and read again as they were', async () => {
    const path = join(folder, 'scores.csv');
    await writeScoreTable(path, table);
    expect(await readScoreTable(path)).toEqual(table);
    // As short as float32 allows: 0.1, not 0.10000000149011612.
    expect(await readFile(path, 'utf8')).toBe('expert,plain,"with, comma"\na,0.5,\n"b ""quoted"", and more",-1,2\n"c\nd",0.1,0\n');
    await writeFile(path, '\uFEFFexpert,x\r\n\r\n"a",1\r\nb,\r\n');
    expect(await readScoreTable(path)).toEqual({ dimensions: ['x'], experts: ['a', 'b'], scores: Float32Array.of(1, Number.NaN) });
  });

  it.each([
    ['model,x\na,1\n', /line 1: the header/],
    ['expert\na\n', /line 1: no dimension/],
    ['expert,x,x\na,1,2\n', /line 1: the dimension 'x' is there twice/],
    ['expert,x\na,1\n\na,2\n', /line 4: the expert 'a' is there twice/],
    ['expert,x\na,1,2\n', /line 2: 2 scores/],
    ['expert,x\na,high\n', /line 2: 'high'/],
    ['expert,x\na,Infinity\n', /line 2: 'Infinity'/],
    ['expert,x\n,1\n', /line 2: the expert has no name/],
    ['expert,x\n"a,1\n', /line 2: a quotation mark is not closed/],
    ['', /line 1: the header/],
  ])('name the line of %j', async (content, message) => {
    const path = join(folder, 'bad.csv');
    await writeFile(path, content);
    await expect(readScoreTable(path)).rejects.toMatchObject({ code: 'BAD_DATA', message: expect.stringMatching(message) });
  });

  it('refuse what is none', async () => {
    const path = join(folder, 'none.csv');
    await expect(readScoreTable(path)).rejects.toMatchObject({ code: 'FILE_MISSING' });
    for (const [wrong, code] of [
      [{ ...table, experts: ['a', 'a', 'b'] }, 'DUPLICATE_ID'],
      [{ ...table, scores: new Float32Array(5) }, 'WRONG_SHAPE'],
      [{ ...table, scores: new Float32Array(6).fill(Number.POSITIVE_INFINITY) }, 'NOT_FINITE'],
      [null, 'BAD_ARGUMENT'],
    ] as const) {
      await expect(writeScoreTable(path, wrong as ScoreTable)).rejects.toMatchObject({ code });
    }
    await expect(writeScoreTable(join(folder, 'no', 'such', 'place'), table)).rejects.toMatchObject({ code: 'FILE_IO' });
    expect((await readdir(folder)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  it('fill holes by the other dimensions, and say how little is known', () => {
    const random = new Random(1);
    const scores = Float32Array.from({ length: 200 }, (_, i) => (i % 2 === 0 ? random.normal() : 0));
    for (let e = 0; e < 100; e++) scores[2 * e + 1] = 3 * (scores[2 * e] as number) + 5;
    const parameters = contentParameters({ dimensions: ['x', 'y'], experts: Array.from({ length: 100 }, (_, e) => `${e}`), scores });
    const { scores: filled, unknown } = contentOf(parameters, [1, Number.NaN]);
    expect(filled[0]).toBe(1);
    expect(Math.abs((filled[1] as number) - 8)).toBeLessThan(0.6);
    expect(unknown?.[3]).toBeLessThan(0.25);
    expect(contentOf(parameters, [Number.NaN, Number.NaN]).unknown?.[3]).toBeCloseTo(1);
  });
});

describe('compact posteriors', () => {
  const n = 6;
  const outcomes = (count: number, seed: number) => {
    const random = new Random(seed);
    return Array.from({ length: count }, () => ({ z: Float64Array.from({ length: n }, () => random.normal()), t: 2 * random.normal() }));
  };

  /** P = I + Σ zzᵀ inverted by Gauss–Jordan, and its mean. */
  function whole(list: { z: Float64Array; t: number }[]) {
    const rows = Array.from({ length: n }, (_, i) => Float64Array.from({ length: 2 * n }, (_, j) => Number(j === i) + Number(j === i + n)));
    const right = new Float64Array(n);
    for (const { z, t } of list) {
      for (let i = 0; i < n; i++) {
        for (let j = 0; j < n; j++) (rows[i] as Float64Array)[j] = (rows[i]?.[j] as number) + (z[i] as number) * (z[j] as number);
        right[i] = (right[i] as number) + t * (z[i] as number);
      }
    }
    for (let i = 0; i < n; i++) {
      const pivot = rows[i] as Float64Array;
      const first = pivot[i] as number;
      for (let j = 0; j < 2 * n; j++) pivot[j] = (pivot[j] as number) / first;
      for (let k = 0; k < n; k++) {
        const factor = rows[k]?.[i] as number;
        if (k !== i)
          for (let j = 0; j < 2 * n; j++) (rows[k] as Float64Array)[j] = (rows[k]?.[j] as number) - factor * (pivot[j] as number);
      }
    }
    const mean = rows.map((row) => right.reduce((sum, r, j) => sum + r * (row[n + j] as number), 0));
    return {
      mean,
      variance: (z: Float64Array) =>
        rows.reduce((sum, row, i) => sum + (z[i] as number) * z.reduce((s, x, j) => s + x * (row[n + j] as number), 0), 0),
    };
  }

  it('are exact up to as many outcomes as they have columns', () => {
    const posterior = new Posterior(n, 4);
    posterior.add();
    const list = outcomes(4, 1);
    for (const { z, t } of list) posterior.observe(0, z, t);
    const truth = whole(list);
    for (const [j, mean] of truth.mean.entries()) expect(posterior.mean(0)[j]).toBeCloseTo(mean, 4);
    for (const { z } of outcomes(10, 2)) expect(posterior.variance(0, z)).toBeCloseTo(truth.variance(z), 3);
  });

  it('stay near the whole covariance after many outcomes, twice as near as the diagonal alone', () => {
    // Of forty streams: by what share the deviations of fifty directions are off, on average, and the largest of them.
    const study = (rank: number) => {
      const means: number[] = [];
      let most = 0;
      for (let seed = 0; seed < 40; seed++) {
        const posterior = new Posterior(n, rank);
        posterior.add();
        const list = outcomes(200, 100 + seed);
        for (const each of list) each.z[1] = (each.z[0] as number) + 0.3 * (each.z[1] as number); // correlated, as conversations are
        for (const { z, t } of list) posterior.observe(0, z, t);
        const truth = whole(list);
        const ratios = outcomes(50, 4).map(({ z }) => Math.sqrt(posterior.variance(0, z) / truth.variance(z)));
        means.push(ratios.reduce((sum, ratio) => sum + Math.abs(ratio - 1), 0) / ratios.length);
        most = Math.max(most, ...ratios);
      }
      means.sort((a, b) => a - b);
      return { median: means[20] as number, worst: means[39] as number, most };
    };
    const [diagonal, columns] = [study(0), study(3)];
    // Three columns for six directions carry half of what a diagonal cannot: measured 0.18 against 0.38, at worst 0.34 against 0.49.
    expect(columns.median).toBeLessThan(0.6 * diagonal.median);
    expect(columns.worst).toBeLessThan(diagonal.worst);
    // What goes to the diagonal, a aᵀ of two correlated coordinates, is at most 2·diag(a²) (Cauchy and Schwarz): a variance is at most
    // doubled, but for the little that chance correlates the others.
    for (const { most } of [diagonal, columns]) expect(most).toBeLessThan(1.05 * Math.SQRT2);
  });

  it('forget towards the prior, and draw with the covariance that they have', () => {
    const posterior = new Posterior(n, 2);
    posterior.add();
    for (const { z, t } of outcomes(30, 5)) posterior.observe(0, z, t);
    const z = Float64Array.of(1, 0, 0, 0, 0, 0);
    const random = new Random(9);
    const draws = Array.from({ length: 4000 }, () => posterior.draw(0, random)[0] as number);
    const mean = draws.reduce((a, b) => a + b, 0) / draws.length;
    const variance = draws.reduce((sum, x) => sum + (x - mean) ** 2, 0) / draws.length;
    expect(variance / posterior.variance(0, z)).toBeGreaterThan(0.9);
    expect(variance / posterior.variance(0, z)).toBeLessThan(1.1);
    const sure = posterior.variance(0, z);
    posterior.forget(0, 0.5);
    expect(posterior.variance(0, z)).toBeGreaterThan(sure);
    for (let i = 0; i < 60; i++) posterior.forget(0, 0.5);
    expect(posterior.variance(0, z)).toBeCloseTo(1, 4);
    expect(Math.abs(posterior.mean(0)[0] as number)).toBeLessThan(1e-4);
  });
});

describe('attributes', () => {
  it('tell what the text does not, and unknown values tell nothing', async () => {
    const random = new Random(4);
    const log = Array.from({ length: 3000 }, (_, i): Interaction[] => {
      const tier = i % 2 ? 'gold' : 'plain';
      return ['rich', 'poor'].map((expert) => ({
        conversation: say(`question ${random.below(1000)} number ${i}`),
        attributes: { tier },
        expert,
        score: random.uniform() < ((expert === 'rich') === (tier === 'gold') ? 0.8 : 0.4) ? 1 : 0,
      }));
    }).flat();
    const model = await learn(log);
    const router = await Router.from(model);
    expect(router.attributeNames).toEqual(['tier']);
    const ask = [say('question 5')];
    expect((await router.route(ask, { attributes: { tier: 'gold' } }))[0]).toMatchObject({ expert: 'rich', attributes: { tier: 'gold' } });
    expect((await router.route(ask, { attributes: [{ tier: 'plain' }] }))[0]?.expert).toBe('poor');
    const [unknown] = await router.route(ask, { attributes: { tier: 'never seen' } });
    const [none] = await router.route(ask);
    expect(unknown?.score).toBe(none?.score);
    await expect(router.route(ask, { attributes: { teir: 'gold' } })).rejects.toMatchObject({
      code: 'BAD_ARGUMENT',
      message: expect.stringMatching(/'teir'/),
    });
    await expect(router.route(ask, { attributes: [] })).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    await expect(router.route(ask, { attributes: { tier: 3 } as never })).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    await model.save(join(folder, 'attributes'));
    const again = await Router.open(join(folder, 'attributes'));
    expect((await again.route(ask, { attributes: { tier: 'gold' } }))[0]?.expert).toBe('rich');
    await expect(learn(log, { attributes: ['colour'] })).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  });

  it('are checked in logs, and the same text with others stays in one group', () => {
    const line = { conversation: say('x'), expert: 'a', score: 1 };
    expect(() => tableOf([{ ...line, attributes: { a: 1 } as never }])).toThrow(/attribute 'a'/);
    const table = tableOf([{ ...line, attributes: { k: 'x' } }, { ...line, attributes: { k: 'y' } }, line]);
    expect(table.conversations).toHaveLength(3);
    expect(new Set(table.group).size).toBe(1);
  });
});

describe('content', () => {
  it('routes before any outcome, by an attribute or by labelled conversations', async () => {
    const { scores, skill, experts } = world(1);
    const best = KINDS.map((_, k) => experts[skill.reduce((top, s, e) => ((s[k] as number) > (skill[top]?.[k] as number) ? e : top), 0)]);
    const router = await Router.from(await learnFromScores(scores, { attribute: 'kind' }));
    const examples = KINDS.flatMap((dimension) => WORDS[dimension].map((word) => ({ conversation: say(`about ${word}`), dimension })));
    const byText = await Router.from(await learnFromScores(scores, { examples }));
    for (const [k, kind] of KINDS.entries()) {
      const [decision] = await router.route([say('anything')], { attributes: { kind } });
      expect(decision?.candidates.slice(0, 2).map(({ expert }) => expert)).toContain(best[k]);
      expect(decision?.candidates[0]?.contributions.dimensions[k]).toBeCloseTo(decision?.score as number);
      const [read] = await byText.route([say(`about ${WORDS[kind][0]} and ${WORDS[kind][1]}`)]);
      const asked = read?.candidates[0]?.contributions.dimensions as number[];
      expect(asked[k]).toBeGreaterThan(asked[1 - k] as number); // mixed weights may choose another than one kind alone
    }
    await expect(learnFromScores(scores)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    await expect(learnFromScores(scores, { examples: examples.slice(0, 1) })).rejects.toMatchObject({ code: 'NOT_ENOUGH_DATA' });
  });

  it('gives an expert without outcomes the prior of its scores, in named dimensions', async () => {
    // How much scores say is learned over experts: of nine it was not found, so sixty here.
    const { scores, draw, skill } = world(2, 63);
    const known = Array.from({ length: 60 }, (_, e) => e);
    const model = await learn(draw(12_000, known, true), { content: scores });
    expect(model.dimensionNames.slice(0, 2)).toEqual([...KINDS]);
    const { ids, vectors, dimensions } = model.expertVectors();
    expect(ids).toHaveLength(63);
    const psi = model.withAttributes(
      await model.encoder.encode(KINDS.map((kind) => say(`about ${WORDS[kind][0]} ${WORDS[kind][1]}`))),
      KINDS.map((kind) => ({ kind })),
    );
    const p = model.dimensionNames.length;
    let [own, mean] = [0, 0];
    for (const e of [60, 61, 62]) {
      for (const k of [0, 1]) {
        const place = ids.indexOf(`expert ${e}`) * dimensions;
        const row = psi.subarray(k * p, (k + 1) * p);
        const advantage = row.reduce((sum, x, j) => sum + x * (vectors[place + j] as number), vectors[place + p] as number);
        own += ((skill[e]?.[k] as number) - model.readOut('score', row, advantage)) ** 2;
        mean += ((skill[e]?.[k] as number) - 0.5) ** 2;
      }
    }
    expect(own).toBeLessThan(0.5 * mean);
  });
});

describe('online', () => {
  const setUp = async () => {
    const { scores, draw, experts, skill } = world(3);
    const model = await learn(draw(3000, [0, 1, 2, 3, 4, 5, 6, 7], true), { content: scores });
    return { model, draw, experts, skill };
  };

  it('looks at the text only where that pays', async () => {
    const { experts, scores } = world(3, 4);
    const random = new Random(4);
    const outcomes = (tells: boolean): Interaction[] =>
      Array.from({ length: 600 }, (_, i) => {
        const kind = random.below(2);
        const expert = i % 4;
        const likely = tells ? (expert % 2 === kind ? 0.95 : 0.05) : 0.2 + 0.2 * expert;
        const conversation = say(`about ${WORDS[KINDS[kind] as (typeof KINDS)[number]][random.below(4)]} ${random.below(50)}`);
        return { conversation, expert: experts[expert] as string, score: random.uniform() < likely ? 1 : 0 };
      });
    const route = async (tells: boolean) => {
      const path = join(folder, `tells ${tells}`);
      const model = await learn(tableOf(outcomes(tells)), { content: scores });
      expect(model.dimensionNames.includes('text 1')).toBe(tells);
      await model.save(path);
      const router = await Router.open(path);
      const decisions = await router.route(['poem', 'story', 'capital', 'year'].map((word) => say(`about ${word}`)));
      return decisions.map(({ expert }) => expert);
    };
    expect(new Set(await route(false))).toEqual(new Set([experts[3]])); // the best single one, always
    const [poem, story, capital, year] = await route(true);
    const odd = (expert: string | undefined) => experts.indexOf(expert as string) % 2;
    expect([poem, story, capital, year].map(odd)).toEqual([0, 0, 1, 1]);
  });

  it('a new expert moves with its outcomes, nobody else does, and the same stream gives the same bits', async () => {
    const { model, draw } = await setUp();
    const stream = draw(300, [8], true);
    const states: Buffer[] = [];
    for (const portion of [300, 7]) {
      const learner = await OnlineLearner.start(model);
      const before = learner.index.vector('expert 0');
      await learner.add('stranger');
      const deviation = () => learner.deviation('expert 8', new Float32Array(model.dimensionNames.length).fill(0.1), { score: 1 });
      const unsure = deviation();
      for (let i = 0; i < stream.length; i += portion) await learner.update(stream.slice(i, i + portion));
      expect(deviation()).toBeLessThan(unsure);
      expect(learner.index.vector('expert 0')).toEqual(before);
      expect(learner.updates).toBe(300);
      await learner.save(join(folder, 'state'));
      states.push(await readFile(join(folder, 'state')));
      const again = await OnlineLearner.open(join(folder, 'state'), model);
      for (const id of ['expert 8', 'stranger']) expect(again.index.vector(id)).toEqual(learner.index.vector(id));
      await again.update(stream.slice(0, 10));
      await learner.update(stream.slice(0, 10));
      expect(again.index.vector('expert 8')).toEqual(learner.index.vector('expert 8'));
      await expect(learner.add('stranger')).rejects.toMatchObject({ code: 'DUPLICATE_ID' });
    }
    expect(states[0]?.equals(states[1] as Buffer)).toBe(true);
  });

  it('follows an expert that gets worse, the sooner with a half-life', async () => {
    const { model } = await setUp();
    const day = 86_400_000;
    const value = async (halfLife: number | undefined) => {
      const learner = await OnlineLearner.start(model, { halfLife });
      const outcome = (i: number, score: number): Interaction => ({
        conversation: say('about poem rhyme 3'),
        attributes: { kind: 'creative' },
        expert: 'newcomer',
        score,
        at: new Date(Date.UTC(2026, 0, 1) + i * day).toISOString(),
      });
      await learner.update(Array.from({ length: 100 }, (_, i) => outcome(i, 1)));
      await learner.update(Array.from({ length: 20 }, (_, i) => outcome(100 + i, 0)));
      const psi = model.withAttributes(await model.encoder.encode([say('about poem rhyme 3')]), [{ kind: 'creative' }]);
      const query = model.queryVectors(psi, { score: 1 });
      return (learner.index.vector('newcomer') as Float32Array).reduce((sum, x, j) => sum + x * (query[j] as number), 0);
    };
    expect(await value(10 * day)).toBeLessThan((await value(undefined)) - 0.3);
  });

  it('refuses states that are torn, altered or of another model; a failed write leaves the state whole', async () => {
    const { model, draw } = await setUp();
    const path = join(folder, 'torn');
    const learner = await OnlineLearner.start(model);
    await learner.update(draw(10, [1], true));
    await learner.save(path);
    const whole = await readFile(path);
    await expect(learner.save(join(path, 'below a file'))).rejects.toMatchObject({ code: 'FILE_IO' });
    expect(await readFile(path)).toEqual(whole);
    for (const length of [0, 10, 30, whole.length - 1]) {
      await writeFile(path, whole);
      await truncate(path, length);
      await expect(OnlineLearner.open(path, model)).rejects.toMatchObject({ code: 'FILE_CORRUPT' });
    }
    for (const place of [25, whole.length - 40]) {
      const altered = Buffer.from(whole);
      altered[place] = (altered[place] as number) ^ 1;
      await writeFile(path, altered);
      await expect(OnlineLearner.open(path, model)).rejects.toMatchObject({ code: 'FILE_CORRUPT' });
    }
    await writeFile(path, whole);
    const other = await learn(draw(500, [0, 1, 2], true));
    await expect(OnlineLearner.open(path, other)).rejects.toMatchObject({ code: 'FILE_VERSION' });
    await expect(OnlineLearner.open(join(folder, 'nothing'), model)).rejects.toMatchObject({ code: 'FILE_MISSING' });
    await expect(learner.update([{ conversation: say('x'), expert: 'a', rating: 3 }])).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    await expect(learner.age(0)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    await expect(OnlineLearner.start(model, { halfLife: 0 })).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    const without = await learn(draw(500, [0, 1, 2], true), { beliefs: false });
    await expect(OnlineLearner.start(without)).rejects.toMatchObject({ code: 'NO_BELIEFS' });
  });

  it('goes on from a model that was saved, as from the one that was learned', async () => {
    const { model, draw } = await setUp();
    await model.save(join(folder, 'saved'));
    const stream = draw(50, [2, 9], true);
    const [here, there] = [await OnlineLearner.start(model), await OnlineLearner.start(await LearnedModel.open(join(folder, 'saved')))];
    for (const learner of [here, there]) await learner.update(stream);
    for (const id of ['expert 2', 'expert 9']) expect(there.index.vector(id)).toEqual(here.index.vector(id));
  });
});

describe('hidden cells', () => {
  it('interactions are found where they are, and only there', () => {
    const random = new Random(5);
    const build = (strength: number) => {
      const known = { row: [] as number[], column: [] as number[], value: [] as number[] };
      const wanted = { row: [] as number[], column: [] as number[], value: [] as number[] };
      for (let i = 0; i < 400; i++) {
        for (let m = 0; m < 20; m++) {
          const eta = (m - 10) / 10 + (i % 2 === m % 2 ? strength : -strength);
          const to = random.uniform() < 0.3 ? wanted : known;
          to.row.push(i);
          to.column.push(m);
          to.value.push(random.uniform() < 1 / (1 + Math.exp(-eta)) ? 1 : 0);
        }
      }
      const cells = {
        rows: 400,
        columns: 20,
        row: Uint32Array.from(known.row),
        column: Uint32Array.from(known.column),
        value: Float32Array.from(known.value),
      };
      const asked = { row: Uint32Array.from(wanted.row), column: Uint32Array.from(wanted.column) };
      const loss = (additive: boolean) =>
        completeCells(cells, asked, { additive }).probability.reduce((sum, p, e) => sum - Math.log(wanted.value[e] ? p : 1 - p), 0) /
        wanted.value.length;
      return loss(true) - loss(false);
    };
    expect(build(1.5)).toBeGreaterThan(0.1);
    expect(build(0)).toBeGreaterThan(-0.01);
  });
});
