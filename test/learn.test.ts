import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LearnedModel, learn, OnlineLearner, readInteractions, readOutcomeMatrix, tableOf } from '../src/learn/index.js';
import { Random } from '../src/random.js';
import { Router } from '../src/route/index.js';
import type { Conversation, Interaction } from '../src/types.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pointsman-learn-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const SUBJECTS = {
  poem: ['rhyme', 'verse', 'moon', 'sonnet', 'stanza', 'metaphor', 'lyric', 'ballad'],
  code: ['function', 'compile', 'pointer', 'array', 'recursion', 'python', 'exception', 'thread'],
};
type Subject = keyof typeof SUBJECTS;

function ask(subject: Subject, random: Random): Conversation {
  const words = Array.from({ length: 6 }, () => SUBJECTS[subject][random.below(8)]);
  return [{ role: 'user', content: `please help me with ${words.join(' ')} number ${random.below(1000)}` }];
}

/** `poet` is good at poems, `coder` at code, `average` between the two. Each conversation is answered by `answers` of them. */
function community(count: number, answers: 1 | 3, seed: number): Interaction[] {
  const random = new Random(seed);
  return Array.from({ length: count }, (_, i): Interaction[] => {
    const subject: Subject = i % 2 ? 'poem' : 'code';
    const conversation = ask(subject, random);
    const experts = answers === 3 ? ['poet', 'coder', 'average'] : [['poet', 'coder', 'average'][random.below(3)] as string];
    return experts.map((expert) => {
      const good = expert === 'average' ? 0.5 : (expert === 'poet') === (subject === 'poem') ? 0.9 : 0.2;
      return {
        conversation,
        expert,
        retry: random.uniform() > good,
        rating: Math.min(5, Math.max(1, 1 + 4 * good + random.uniform() - 0.5)),
        length: Math.floor(10 * good * random.uniform()),
      };
    });
  }).flat();
}

async function pick(model: LearnedModel, conversation: Conversation): Promise<string | undefined> {
  const index = await model.index();
  const psi = await model.encoder.encode([conversation]);
  const result = await index.search(model.queryVectors(psi, { retry: -1, rating: 0.5 }), { k: 1 });
  return result.ids(0)[0];
}

describe('learn', () => {
  it.each([1, 3] as const)('finds who is good at what when %i answered each conversation', async (answers) => {
    const model = await learn(tableOf(community(1200, answers, 1)));
    const random = new Random(99);
    expect(model.parameters.chosen.rank).toBeGreaterThan(0);
    for (let i = 0; i < 20; i++) {
      expect(await pick(model, ask('poem', random))).toBe('poet');
      expect(await pick(model, ask('code', random))).toBe('coder');
    }
  });

  it('scores are Σ α·ŷ, and read-outs are calibrated', async () => {
    const model = await learn(tableOf(community(1200, 3, 2)));
    const psi = await model.encoder.encode([ask('poem', new Random(5))]);
    const index = await model.index();
    const yhat = async (metric: 'retry' | 'rating') => {
      const result = await index.search(model.queryVectors(psi, { [metric]: 1 }), { k: 3 });
      return new Map(result.ids(0).map((id, i) => [id, result.scores[i] as number]));
    };
    const retry = await yhat('retry');
    expect(model.readOut('retry', psi, retry.get('poet') as number)).toBeCloseTo(0.1, 0.5);
    expect(model.readOut('retry', psi, retry.get('coder') as number)).toBeGreaterThan(0.6);
    expect(Math.abs(model.readOut('rating', psi, (await yhat('rating')).get('poet') as number) - 4.6)).toBeLessThan(0.4);
    expect(() => model.queryVectors(psi, { score: 1 })).toThrow(expect.objectContaining({ code: 'BAD_OBJECTIVE' }));
  });

  it('a log: an expert that was asked hard questions is not worse for it', async () => {
    const random = new Random(12);
    // Code is hard for all, `veteran` is better at both, and was asked for code nine times of ten.
    const log = Array.from({ length: 2000 }, (_, i): Interaction => {
      const subject: Subject = i % 2 ? 'poem' : 'code';
      const expert = random.uniform() < (subject === 'code' ? 0.9 : 0.1) ? 'veteran' : 'novice';
      const good = (subject === 'poem' ? 0.75 : 0.15) + (expert === 'veteran' ? 0.15 : 0);
      return { conversation: ask(subject, random), expert, score: random.uniform() < good ? 1 : 0 };
    });
    const model = await learn(tableOf(log));
    const index = await model.index();
    for (const subject of ['poem', 'code'] as const) {
      const psi = await model.encoder.encode([ask(subject, random)]);
      const found = await index.search(model.queryVectors(psi, { score: 1 }), { k: 2 });
      expect(found.ids(0)[0]).toBe('veteran');
      expect(model.readOut('score', psi, found.scores[0] as number)).toBeCloseTo(subject === 'poem' ? 0.9 : 0.3, 0.9);
    }
  });

  it('routes on nothing when the text tells nothing', async () => {
    const random = new Random(3);
    const table = tableOf(
      community(600, 3, 3).map((one) => ({
        ...one,
        retry: random.uniform() < 0.3,
        rating: 1 + 4 * random.uniform(),
        length: random.below(9),
      })),
    );
    expect((await learn(table)).parameters.chosen.rank).toBe(0);
  });

  it('gives the same model for the same seed on every thread count', async () => {
    const table = tableOf(community(300, 1, 4));
    const [one, many, other] = [await learn(table, { threads: 1 }), await learn(table, { threads: 4 }), await learn(table, { seed: 8 })];
    expect(many.version).toBe(one.version);
    expect(many.expertVectors()).toEqual(one.expertVectors());
    expect(other.version).not.toBe(one.version);
  });

  it('learns in low rank where experts are many', async () => {
    const random = new Random(6);
    const log = Array.from({ length: 3000 }, (_, i): Interaction => {
      const expert = random.below(60);
      const subject: Subject = i % 2 ? 'poem' : 'code';
      const good = (expert % 2 === 0) === (subject === 'poem') ? 0.9 : 0.2;
      return { conversation: ask(subject, random), expert: `expert ${expert}`, score: random.uniform() < good ? 1 : 0 };
    });
    const model = await learn(tableOf(log), { ranks: [2] });
    expect(model.parameters.chosen.rank).toBe(2);
    const psi = await model.encoder.encode([ask('poem', random)]);
    const best = await (await model.index()).search(model.queryVectors(psi, { score: 1 }), { k: 20 });
    expect(best.ids(0).filter((id) => Number(id.split(' ')[1]) % 2 === 0).length).toBeGreaterThan(17);
  });

  it('refuses too little, and stops when asked', async () => {
    await expect(learn(tableOf([{ conversation: [{ role: 'user', content: 'x' }], expert: 'a', retry: true }]))).rejects.toMatchObject({
      code: 'NOT_ENOUGH_DATA',
    });
    await expect(learn(tableOf(community(50, 1, 1)), { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORTED' });
    await expect(learn(tableOf(community(50, 1, 1)), { seed: -1 })).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  });
});

describe('a saved model', () => {
  it('opens as it was; torn, altered and missing files are refused', async () => {
    const model = await learn(tableOf(community(200, 1, 7)));
    const path = join(folder, 'model');
    await model.save(path);
    const again = await LearnedModel.open(path);
    const asked = [ask('poem', new Random(1))];
    expect(again.version).toBe(model.version);
    expect(await again.encoder.encode(asked)).toEqual(await model.encoder.encode(asked));
    expect((await again.index()).vector('poet')).toEqual((await model.index()).vector('poet'));

    await (await learn(tableOf(community(200, 1, 8)))).save(path);
    expect((await readdir(path)).length).toBe(4);
    const files = await readdir(path);
    for (const name of files) {
      const whole = await readFile(join(path, name));
      await truncate(join(path, name), whole.length - 5);
      await expect(LearnedModel.open(path)).rejects.toMatchObject({ code: 'FILE_CORRUPT' });
      const altered = Buffer.from(whole);
      const place = whole.findLastIndex((byte, i) => byte !== 0 && i < whole.length - 9); // zeros may be padding
      altered[place] = (altered[place] as number) ^ 1;
      await writeFile(join(path, name), altered);
      await expect(LearnedModel.open(path)).rejects.toMatchObject({ code: 'FILE_CORRUPT' });
      await rm(join(path, name));
      await expect(LearnedModel.open(path)).rejects.toMatchObject({ code: 'FILE_MISSING' });
      await writeFile(join(path, name), whole);
    }
    const opened = await LearnedModel.open(path);
    const router = await Router.open(path);
    opened.close();
    await expect(Router.from(opened)).rejects.toMatchObject({ code: 'CLOSED' });
    await expect(OnlineLearner.start(opened)).rejects.toMatchObject({ code: 'CLOSED' });
    await expect(opened.save(path)).rejects.toMatchObject({ code: 'CLOSED' });
    await router.route(asked);
    router.close();
    router.close();
    await expect(router.route(asked)).rejects.toMatchObject({ code: 'CLOSED' });
    await Router.open(path); // what was closed is whole on disk
  });
});

describe('readInteractions', () => {
  const line = (fields: object) => JSON.stringify({ conversation: [{ role: 'user', content: 'hi' }], expert: 'a', rating: 4, ...fields });

  it('reads JSON lines, packed or not, and joins equal conversations', async () => {
    const content = `${line({ retry: false, length: 3, propensity: 0.5, at: '2025-01-02T03:04:05Z' })}\n\n${line({ expert: 'b' })}\r\n`;
    await writeFile(join(folder, 'log.jsonl'), content);
    await writeFile(join(folder, 'log.jsonl.gz'), gzipSync(content));
    const table = await readInteractions(join(folder, 'log.jsonl'));
    expect(table.conversations).toHaveLength(1);
    expect(table.experts).toEqual(['a', 'b']);
    expect(table.metrics).toEqual({
      retry: Float32Array.of(0, Number.NaN),
      rating: Float32Array.of(4, 4),
      length: Float32Array.of(3, Number.NaN),
    });
    expect(await readInteractions(join(folder, 'log.jsonl.gz'))).toEqual(table);
  });

  it.each([
    ['{', /line 2: not JSON/],
    ['[]', /line 2: expected an object/],
    [line({ conversation: [] }), /line 2: conversation/],
    [line({ conversation: [{ role: 'user' }] }), /line 2: message 1/],
    [line({ expert: '' }), /line 2: expert/],
    [line({ rating: 6 }), /line 2: rating must be a number from 1 to 5/],
    [line({ retry: 1 }), /line 2: retry/],
    [line({ length: 1.5 }), /line 2: length/],
    [line({ propensity: 0 }), /line 2: propensity/],
    [line({ at: 'yesterday' }), /line 2: at/],
    [line({ rating: undefined }), /line 2: no outcome/],
  ])('names the line of %s', async (bad, message) => {
    await writeFile(join(folder, 'bad.jsonl'), `${line({})}\n${bad}\n`);
    await expect(readInteractions(join(folder, 'bad.jsonl'))).rejects.toMatchObject({
      code: 'BAD_DATA',
      message: expect.stringMatching(message),
    });
  });

  it('says when the file is not there', async () => {
    await expect(readInteractions(join(folder, 'none.jsonl'))).rejects.toMatchObject({ code: 'FILE_MISSING' });
  });
});

describe('readOutcomeMatrix', () => {
  const prompts =
    '{"i":0,"prompt":"one","split":"train","group":7}\n{"i":1,"prompt":"two","split":"test","group":7,"functions":[{"name":"f","description":"does"}]}\n';
  const write = async (scores: string, text = prompts) => {
    await writeFile(join(folder, 'prompts.jsonl'), text);
    await writeFile(join(folder, 'scores.csv'), scores);
    return readOutcomeMatrix(folder);
  };

  it('reads prompts, scores, missing cells, groups and splits', async () => {
    const table = await write('model,0,1\na,0.5,\nb,0,1\n');
    expect(table.experts).toEqual(['a', 'b']);
    expect(table.metrics.score).toEqual(Float32Array.of(0.5, 0, 1));
    expect([...table.conversation]).toEqual([0, 0, 1]);
    expect(table.split).toEqual(['train', 'test']);
    expect(table.group?.[0]).toBe(table.group?.[1]);
    expect(table.conversations[1]).toEqual([{ role: 'user', content: 'two\nf does' }]);
  });

  it.each([
    ['model,0\na,1\n', /line 1: 1 columns/],
    ['name,0,1\n', /line 1: the header/],
    ['model,0,1\na,0,2\n', /line 2: cell 3/],
    ['model,0,1\na,0,1\na,0,1\n', /line 3: the model 'a' is there twice/],
    ['model,0,1\na,0\n', /line 2: 1 scores/],
  ])('names the line of %j', async (scores, message) => {
    await expect(write(scores)).rejects.toMatchObject({ code: 'BAD_DATA', message: expect.stringMatching(message) });
  });
});
