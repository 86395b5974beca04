/** Models that were learned with an encoder of the user's. */
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Encoder, type Interaction, LearnedModel, learn, Router } from '../src/index.js';
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
/** Far from the origin, as the vectors of language models are: poems to one side, code to the other, the rest noise of the text. */
function vectorOf(content: string): number[] {
  let seed = 1;
  for (const c of content) seed = (seed * 31 + c.charCodeAt(0)) % 1_000_003;
  const random = new Random(seed);
  const side = content.includes('poem') ? 1 : -1;
  return Array.from({ length: WIDE }, (_, d) => 3 + (d === 5 ? side : 0) + 0.4 * (random.uniform() - 0.5));
}
const semantic = (id?: string, dimensions = WIDE): Encoder => ({
  dimensions,
  ...(id !== undefined && { id }),
  encode: async (conversations) =>
    Float32Array.from(conversations.flatMap((conversation) => vectorOf(conversation.at(-1)?.content ?? '').slice(0, dimensions))),
});
const ask = (subject: 'poem' | 'code', n: number): Conversation => [{ role: 'user', content: `${subject} ${n}` }];

function log(answers: 1 | 2): Interaction[] {
  const random = new Random(7);
  return Array.from({ length: 600 }, (_, n): Interaction[] => {
    const subject = n % 2 ? 'poem' : 'code';
    const experts = answers === 2 ? ['poet', 'coder'] : [random.below(2) ? 'poet' : 'coder'];
    return experts.map((expert) => {
      const good = (expert === 'poet') === (subject === 'poem') ? 0.9 : 0.2;
      return { conversation: ask(subject, n), expert, score: random.uniform() < good ? 1 : 0 };
    });
  }).flat();
}

describe('learn with an encoder', () => {
  it.each([1, 2] as const)('learns from its vectors, saves, and opens with it again (%i answers each)', async (answers) => {
    const model = await learn(log(answers), { encoder: semantic('mine') });
    expect(model.parameters.encoder).toEqual({ dimensions: WIDE, id: 'mine' });
    expect(model.parameters.chosen.rank).toBeGreaterThan(0);
    const out = join(folder, `model-${answers}`);
    await model.save(out);
    const asked = Array.from({ length: 40 }, (_, n) => ask(n % 2 ? 'poem' : 'code', 10_000 + n));
    const router = await Router.open(out, { encoder: semantic('mine') });
    expect(router.modelVersion).toBe(model.version);
    const decisions = await router.route(asked);
    expect(decisions.map(({ expert }) => expert)).toEqual(asked.map((_, n) => (n % 2 ? 'poet' : 'coder')));
    const opened = await LearnedModel.open(out, { encoder: semantic('mine') });
    expect(await opened.encoder.encode(asked)).toEqual(await model.encoder.encode(asked));
    const files = await readdir(out);
    truncateSync(join(out, files.find((name) => name.endsWith('.bin')) as string), 100);
    await expect(Router.open(out, { encoder: semantic('mine') })).rejects.toMatchObject({ code: 'FILE_CORRUPT' });
  });

  it('gives the same model on every thread count, and another for another encoder', async () => {
    const versions = [];
    for (const [threads, encoder] of [
      [1, semantic('a')],
      [3, semantic('a')],
      [1, semantic('b')],
    ] as const) {
      versions.push((await learn(log(1), { threads, encoder })).version);
    }
    expect(versions[1]).toBe(versions[0]);
    expect(versions[2]).not.toBe(versions[0]);
  });

  it('refuses a wrong encoder, and one for a model that has its own', async () => {
    const out = join(folder, 'named');
    await (await learn(log(1), { encoder: semantic('mine') })).save(out);
    for (const encoder of [undefined, semantic('other'), semantic(), semantic('mine', 12)]) {
      await expect(Router.open(out, { encoder })).rejects.toMatchObject({ code: 'WRONG_ENCODER' });
    }
    await expect(Router.open(out, { encoder: {} as never })).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    const unnamed = join(folder, 'unnamed');
    await (await learn(log(1), { encoder: semantic() })).save(unnamed);
    await Router.open(unnamed, { encoder: semantic('any') });
    const plain = join(folder, 'plain');
    await (await learn(log(1))).save(plain);
    await expect(Router.open(plain, { encoder: semantic() })).rejects.toMatchObject({ code: 'WRONG_ENCODER' });
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
    await expect(learn(log(1), { encoder: { encode: 1 } as never })).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  });
});

describe('--encoder', () => {
  it('learns and routes with an endpoint, its key only in the environment', async () => {
    const server = await new EndpointServer(({ body }, response) =>
      send(response, { data: body.input.map((text: string, index: number) => ({ index, embedding: vectorOf(text) })) }),
    ).start();
    try {
      process.env.POINTSMAN_TEST_KEY = 'sk-secret-secret';
      const [data, encoder, out] = ['log.jsonl', 'encoder.json', 'cli-model'].map((name) => join(folder, name)) as [string, string, string];
      writeFileSync(
        data,
        log(1)
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
      writeFileSync(encoder, JSON.stringify(settings));
      expect(await cli(['learn', '--data', data, '--out', out, '--encoder', encoder])).toMatchObject({ code: 0, err: '' });
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
