/** Models that were learned with an encoder of the user's. */
import { copyFileSync, mkdtempSync, rmSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Encoder, type Interaction, LearnedModel, learn, OnlineLearner, Router } from '../src/index.js';
import { Random } from '../src/random.js';
import type { Conversation } from '../src/types.js';
import { EndpointServer, send } from './endpoint-server.js';
import { cli } from './terminal.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'pointsman-head-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const WIDE = 24;
function hash(content: string): number {
  let value = 1;
  for (const c of content) value = (value * 31 + c.charCodeAt(0)) % 1_000_003;
  return value;
}
/** What the text says (poem, code), and what only a reader of meaning knows: which of two moods. */
const subjectOf = (content: string) => (content.includes('poem') ? 1 : -1);
const moodOf = (content: string) => (new Random(hash(content)).below(2) ? 1 : -1);
/** Far from the origin, as the vectors of language models are: to one side or the other, the rest noise. */
function vectorOf(content: string, tells: (content: string) => number): number[] {
  const random = new Random(hash(content) + 7);
  return Array.from({ length: WIDE }, (_, d) => 3 + (d === 5 ? tells(content) : 0) + 0.4 * (random.uniform() - 0.5));
}
interface Counting extends Encoder {
  asked: number;
}
const encoderOf = (tells: (content: string) => number, id?: string, dimensions = WIDE): Counting => ({
  dimensions,
  asked: 0,
  ...(id !== undefined && { id }),
  async encode(conversations) {
    this.asked += conversations.length;
    return Float32Array.from(
      conversations.flatMap((conversation) => vectorOf(conversation.at(-1)?.content ?? '', tells).slice(0, dimensions)),
    );
  },
});
const moody = (id?: string, dimensions?: number) => encoderOf(moodOf, id, dimensions);
const blind = (id?: string) => encoderOf(() => 0, id);
const ask = (n: number): Conversation => [{ role: 'user', content: `${n % 2 ? 'poem' : 'code'} ${n}` }];
const contentOf = (conversation: Conversation) => conversation[0]?.content as string;

/** Who is good depends on `tells`; how hard a conversation is on `hard`. */
function log(
  answers: 1 | 2,
  tells: (content: string) => number = moodOf,
  hard: (content: string) => number = () => 0,
  count = 600,
): Interaction[] {
  const random = new Random(7);
  return Array.from({ length: count }, (_, n): Interaction[] => {
    const conversation = ask(n);
    const content = contentOf(conversation);
    const experts = answers === 2 ? ['poet', 'coder'] : [random.below(2) ? 'poet' : 'coder'];
    return experts.map((expert) => {
      const good = 0.5 + 0.3 * (expert === 'poet' ? 1 : -1) * tells(content) + 0.15 * hard(content);
      return { conversation, expert, score: random.uniform() < good ? 1 : 0 };
    });
  }).flat();
}
const asked = Array.from({ length: 40 }, (_, n) => ask(10_000 + n));
const bestBy = (tells: (content: string) => number) => asked.map((each) => (tells(contentOf(each)) > 0 ? 'poet' : 'coder'));

describe('learn with an encoder', () => {
  it.each([1, 2] as const)(
    'learns from its vectors what the text does not tell, saves, and opens with it again (%i answers each)',
    async (answers) => {
      const model = await learn(log(answers), { encoder: moody('mine') });
      expect(model.parameters.encoder).toEqual({ dimensions: WIDE, id: 'mine' });
      expect(model.parameters.reads).toContain('encoder');
      expect(model.parameters.chosen.rank).toBeGreaterThan(0);
      const out = join(folder, `model-${answers}`);
      await model.save(out);
      const router = await Router.open(out, { encoder: moody('mine') });
      expect(router.modelVersion).toBe(model.version);
      expect((await router.route(asked)).map(({ expert }) => expert)).toEqual(bestBy(moodOf));
      const opened = await LearnedModel.open(out, { encoder: moody('mine') });
      expect(await opened.encoder.encode(asked)).toEqual(await model.encoder.encode(asked));
      const head = (await readdir(out)).find((name) => name.startsWith('head-')) as string;
      truncateSync(join(out, head), 100);
      await expect(Router.open(out, { encoder: moody('mine') })).rejects.toMatchObject({ code: 'FILE_CORRUPT' });
      unlinkSync(join(out, head));
      await expect(Router.open(out, { encoder: moody('mine') })).rejects.toMatchObject({ code: 'FILE_MISSING' });
    },
  );

  it.each([1, 2] as const)(
    'learns from the text where that tells more, and then asks the encoder nothing (%i answers each)',
    async (answers) => {
      const model = await learn(log(answers, subjectOf), { encoder: blind('mine') });
      expect(model.parameters.reads).toEqual(['text']);
      const out = join(folder, `text-${answers}`);
      await model.save(out);
      const encoder = blind('mine');
      const router = await Router.open(out, { encoder });
      expect((await router.route(asked)).map(({ expert }) => expert)).toEqual(bestBy(subjectOf));
      expect(encoder.asked).toBe(0);
      await expect(Router.open(out)).rejects.toMatchObject({ code: 'WRONG_ENCODER' }); // tomorrow's model may ask it
    },
  );

  it.each([1, 2] as const)(
    'takes from each view what it tells: who is good from the vectors, what is hard from the text (%i answers each)',
    async (answers) => {
      const model = await learn(log(answers, moodOf, subjectOf), { encoder: moody('mine') });
      expect(model.parameters.reads).toEqual(['text', 'encoder']);
      const out = join(folder, `both-${answers}`);
      await model.save(out);
      const opened = await LearnedModel.open(out, { encoder: moody('mine') });
      const psi = await opened.encoder.encode(asked);
      expect(psi).toEqual(await model.encoder.encode(asked));
      const decisions = await (await Router.open(out, { encoder: moody('mine') })).route(asked);
      expect(decisions.map(({ expert }) => expert)).toEqual(bestBy(moodOf));
      const expected = (i: number) =>
        opened.readOut('score', psi.subarray(i * opened.encoder.dimensions, (i + 1) * opened.encoder.dimensions), 0);
      for (const [i, each] of asked.entries()) expect(expected(i) > 0.5).toBe(subjectOf(contentOf(each)) > 0);
    },
  );

  it.each([1, 2] as const)('and the other way round (%i answers each)', async (answers) => {
    const model = await learn(log(answers, subjectOf, moodOf), { encoder: moody() });
    expect((await (await Router.from(model)).route(asked)).map(({ expert }) => expert)).toEqual(bestBy(subjectOf));
  });

  it('refuses an index of another model, though it has the same size', async () => {
    const [one, other] = [join(folder, 'one'), join(folder, 'other')];
    for (const [out, tells] of [
      [one, moodOf],
      [other, (content: string) => -moodOf(content)],
    ] as const) {
      await (await learn(log(1, tells), { encoder: moody() })).save(out);
    }
    const experts = async (out: string) => join(out, (await readdir(out)).find((name) => name.startsWith('experts-')) as string);
    copyFileSync(await experts(other), await experts(one));
    await expect(Router.open(one, { encoder: moody() })).rejects.toMatchObject({ code: 'FILE_CORRUPT' });
  });

  it('checks conversations and hears aborts, also where the text is not read and the encoder does not listen', async () => {
    const base = moody();
    const model = await learn(log(1), { encoder: base });
    const broken = [null, [null], [[{ role: 'user', content: 5 }]]];
    for (const conversations of broken) {
      const code = conversations === null ? 'BAD_ARGUMENT' : 'BAD_CONVERSATION';
      await expect(model.encoder.encode(conversations as never)).rejects.toMatchObject({ code });
    }
    await expect(model.encoder.encode(asked, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORTED' });
    await expect(model.encoder.encode(asked, { signal: 5 as never })).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    base.encode = () => new Promise(() => {}); // never answers
    const controller = new AbortController();
    const waiting = model.encoder.encode(asked, { signal: controller.signal });
    setTimeout(() => controller.abort(), 10);
    await expect(waiting).rejects.toMatchObject({ code: 'ABORTED' });
  });

  it('is the encoder of the next version, too', async () => {
    const learner = await OnlineLearner.start(await learn(log(2), { encoder: moody('mine') }));
    await learner.refit(log(2));
    const routed = await (await Router.from(learner)).route(asked);
    expect(routed.map(({ expert }) => expert)).toEqual(bestBy(moodOf));
    expect(learner.model.parameters.encoder).toEqual({ dimensions: WIDE, id: 'mine' });
  });

  it.each([
    ['without scores', undefined],
    ['with scores', { dimensions: ['verse'], experts: ['poet', 'coder', 'new'], scores: Float32Array.from([0.9, 0.1, 0.8]) }],
  ])('also where attributes tell a part, %s of experts', async (_, content) => {
    const tierOf = (conversation: Conversation) => ({ tier: subjectOf(contentOf(conversation)) > 0 ? 'free' : 'paid' });
    const records = log(2, moodOf, subjectOf).map((record) => ({ ...record, attributes: tierOf(record.conversation) }));
    const model = await learn(records, { encoder: moody(), content });
    expect(model.parameters.reads).toContain('encoder');
    const routed = await (await Router.from(model)).route(asked, { attributes: asked.map(tierOf) });
    expect(routed.map(({ expert }) => expert.replace('new', 'poet'))).toEqual(bestBy(moodOf));
    const score = routed.map(({ candidates }) => candidates[0]?.predictions.score as number);
    const mean = (side: number) => {
      const own = score.filter((_, i) => subjectOf(contentOf(asked[i] as Conversation)) === side);
      return own.reduce((sum, value) => sum + value, 0) / own.length;
    };
    expect(mean(1) - mean(-1)).toBeGreaterThan(0.15); // 0.3 in truth
  });

  it('gives the same model on every thread count, and another for another encoder', async () => {
    const versions = [];
    for (const [threads, encoder] of [
      [1, moody('a')],
      [3, moody('a')],
      [1, moody('b')],
    ] as const) {
      versions.push((await learn(log(1), { threads, encoder })).version);
    }
    expect(versions[1]).toBe(versions[0]);
    expect(versions[2]).not.toBe(versions[0]);
  });

  it('refuses a wrong encoder, and one for a model that has its own', async () => {
    const out = join(folder, 'named');
    await (await learn(log(1), { encoder: moody('mine') })).save(out);
    for (const encoder of [undefined, moody('other'), moody(), moody('mine', 12)]) {
      await expect(Router.open(out, { encoder })).rejects.toMatchObject({ code: 'WRONG_ENCODER' });
    }
    await expect(Router.open(out, { encoder: {} as never })).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    const unnamed = join(folder, 'unnamed');
    await (await learn(log(1), { encoder: moody() })).save(unnamed);
    await Router.open(unnamed, { encoder: moody('any') });
    const plain = join(folder, 'plain');
    await (await learn(log(1))).save(plain);
    await expect(Router.open(plain, { encoder: moody() })).rejects.toMatchObject({ code: 'WRONG_ENCODER' });
  });

  it('refuses what an encoder must not give', async () => {
    const giving = (values: unknown): Encoder => ({ dimensions: WIDE, encode: async () => values as Float32Array });
    await expect(learn(log(1), { encoder: giving(new Float32Array(7)) })).rejects.toMatchObject({ code: 'WRONG_SHAPE' });
    await expect(learn(log(1), { encoder: giving(undefined) })).rejects.toMatchObject({ code: 'WRONG_SHAPE' });
    await expect(learn(log(1), { encoder: giving(new Float32Array(600 * WIDE).fill(Number.NaN)) })).rejects.toMatchObject({
      code: 'NOT_FINITE',
    });
    await expect(learn(log(1), { encoder: giving(new Float32Array(600 * WIDE).fill(1)) })).rejects.toMatchObject({
      code: 'NOT_ENOUGH_DATA',
    });
    await expect(learn(log(1), { encoder: giving(new Float32Array(600 * WIDE).map((_, i) => 1e-44 * (i % 2))) })).rejects.toMatchObject({
      code: 'NOT_ENOUGH_DATA',
    });
    await expect(learn(log(1), { encoder: { encode: 1 } as never })).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  });
});

describe('--encoder', () => {
  it('learns and routes with an endpoint, its key only in the environment', async () => {
    let tells: (content: string) => number = () => 0;
    const server = await new EndpointServer(({ body }, response) =>
      send(response, { data: body.input.map((text: string, index: number) => ({ index, embedding: vectorOf(text, tells) })) }),
    ).start();
    try {
      process.env.POINTSMAN_TEST_KEY = 'sk-secret-secret';
      const [data, encoder, out] = ['log.jsonl', 'encoder.json', 'cli-model'].map((name) => join(folder, name)) as [string, string, string];
      writeFileSync(
        data,
        log(1, subjectOf)
          .map((record) => JSON.stringify(record))
          .join('\n'),
      );
      const settings = {
        kind: 'endpoint',
        baseUrl: server.url,
        model: 'small',
        apiKeyEnv: 'POINTSMAN_TEST_KEY',
        cache: join(folder, 'cli-cache'),
      };
      const learn = () => cli(['learn', '--data', data, '--out', out, '--encoder', encoder]);
      writeFileSync(encoder, JSON.stringify({ ...settings, cache: undefined }));
      expect((await learn()).out).toContain('; goes by the text alone, which tells as much: the encoder will not be asked');
      tells = subjectOf;
      writeFileSync(encoder, JSON.stringify(settings));
      const learned = await learn();
      expect(learned).toMatchObject({ code: 0, err: '' });
      expect(learned.out).toMatch(/; goes by .*the encoder's vectors/);
      const routed = await cli(['route', '--model', out, 'a poem, please', '--encoder', encoder, '--json']);
      expect(routed.json()[0].expert).toBe('poet');
      expect(server.asked.every(({ headers }) => headers.authorization === 'Bearer sk-secret-secret')).toBe(true);
      expect((await cli(['route', '--model', out, 'a poem'])).err).toMatch(/--encoder FILE.*\(WRONG_ENCODER\)/);
      writeFileSync(encoder, '{"kind":"gguf"}');
      expect((await cli(['route', '--model', out, 'a poem', '--encoder', encoder])).err).toContain('(BAD_DATA)');
    } finally {
      delete process.env.POINTSMAN_TEST_KEY;
      await server.stop();
    }
  });
});
