/** Learning from neighbours, with an encoder of the user's (src/learn/neighbours.ts). */
import { copyFileSync, mkdtempSync, readdirSync, rmSync, truncateSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Encoder, ExpertIndex, type Interaction, LearnedModel, learn, OnlineLearner, Router } from '../src/index.js';
import type { EncodedView } from '../src/learn/corpus.js';
import { addNeighbours, directionsOf, neighbourLearner } from '../src/learn/neighbours.js';
import { Random } from '../src/random.js';
import type { Conversation } from '../src/types.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'pointsman-neighbours-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('the estimate', () => {
  it('is that of the formula, over those that know the output', async () => {
    const random = new Random(3);
    const [rows, wide, outputs, count, shrinkage] = [90, 7, 3, 20, 2];
    const remembered = directionsOf(
      Float32Array.from({ length: rows * wide }, () => random.uniform() - 0.5),
      new Float32Array(wide).fill(0.1),
    );
    const told = Float32Array.from({ length: rows * outputs }, () => (random.below(3) === 0 ? Number.NaN : random.uniform() - 0.5));
    const index = new ExpertIndex({ dimensions: wide });
    const ids = Array.from({ length: rows }, (_, i) => String(i));
    await index.upsert(ids, remembered);
    const asked = remembered.slice(0, 5 * wide);
    asked.fill(0, 4 * wide); // at the centre: no direction
    const p = outputs + 1;
    const psi = new Float32Array(5 * p).fill(0.25);
    await addNeighbours({ settings: { count, shrinkage }, share: 1, index, told, outputs }, asked, psi, p, {});
    for (let q = 0; q < 5; q++) {
      const cosine = (i: number) =>
        Array.from({ length: wide }, (_, d) => (asked[q * wide + d] as number) * (remembered[i * wide + d] as number)).reduce(
          (a, b) => a + b,
        );
      const nearest = Array.from({ length: rows }, (_, i) => ({ i, c: cosine(i) }))
        .sort((a, b) => b.c - a.c)
        .slice(0, count);
      for (let o = 0; o < outputs; o++) {
        let [sum, weights] = [0, 0];
        for (const [n, { i, c }] of nearest.entries()) {
          const value = told[i * outputs + o] as number;
          if (Number.isNaN(value) || c <= 0) continue;
          const weight = (c / (nearest[0]?.c as number)) * Math.log(count / (n + 1));
          sum += weight * value;
          weights += weight;
        }
        expect(psi[q * p + o]).toBeCloseTo(0.25 + sum / (weights + shrinkage), 5);
        expect(q === 4 || sum !== 0).toBe(true);
      }
      expect(psi[q * p + outputs]).toBe(0.25); // what is expected of the conversation is not theirs
    }
    index.close();
  });
});

describe('the held-out estimate', () => {
  it('knows nothing of its own fold, its bias included', async () => {
    const random = new Random(5);
    const [rows, wide, outputs] = [60, 4, 2];
    const values = Float32Array.from({ length: rows * wide }, () => random.uniform() - 0.5);
    const view = { centre: new Float32Array(wide), rows: { values } } as unknown as EncodedView;
    const fold = Uint32Array.from({ length: rows }, (_, i) => i % 5);
    const row = Uint32Array.from({ length: rows * outputs }, (_, e) => Math.floor(e / outputs));
    const output = row.map((_, e) => e % outputs);
    const target = Float32Array.from(row, () => random.uniform());
    const estimates = async (of: Float32Array) => {
      const mean = (o: number, without?: number) => {
        const own = of.filter((_, e) => output[e] === o && fold[row[e] as number] !== without);
        return own.reduce((sum, value) => sum + value, 0) / own.length;
      };
      const heldOut = Float32Array.from(row, (i, e) => mean(output[e] as number, fold[i]));
      const bias = Float32Array.from({ length: outputs }, (_, o) => mean(o));
      const work = { seed: 0, threads: 1, tasks: {} };
      return (
        neighbourLearner(view, { row, output, target: of }, bias, heldOut, fold, work) as NonNullable<ReturnType<typeof neighbourLearner>>
      ).estimates();
    };
    const before = await estimates(target);
    const changed = target.slice();
    changed[0] = 10; // of conversation 0, in fold 0
    const after = await estimates(changed);
    for (const [s, values] of before.entries()) {
      for (const [e, value] of values.entries()) {
        if (fold[row[e] as number] === 0) expect(after[s]?.[e]).toBe(value);
      }
      expect(after[s]).not.toEqual(values);
    }
  });
});

const WIDE = 6;
/** Four clouds of conversations; who answers well is known by two coordinates together, by neither alone. */
const encoder: Encoder = {
  dimensions: WIDE,
  id: 'clouds',
  encode: async (conversations) =>
    Float32Array.from(
      conversations.flatMap((conversation) => {
        const n = Number(conversation[0]?.content);
        const random = new Random(n);
        const noise = Array.from({ length: WIDE }, () => 0.3 * (random.uniform() - 0.5));
        return noise.map((value, d) => 5 + value + (d === 0 ? (n & 1 ? 1 : -1) : d === 1 ? (n & 2 ? 1 : -1) : 0));
      }),
    ),
};
const conversation = (n: number): Conversation => [{ role: 'user', content: String(n) }];
const better = (n: number) => ((n & 1) === (n & 2) >> 1 ? 'even' : 'odd');
function outcomes(count: number): Interaction[] {
  const random = new Random(11);
  return Array.from({ length: count }, (_, n) =>
    ['even', 'odd'].map((expert) => ({
      conversation: conversation(n),
      expert,
      score: random.uniform() < (expert === better(n) ? 0.8 : 0.3) ? 1 : 0,
    })),
  ).flat();
}
const asked = Array.from({ length: 60 }, (_, n) => 100_000 + n);

describe('learn with an encoder', () => {
  it('remembers where a regression cannot tell; saves, opens, goes on', async () => {
    const model = await learn(outcomes(600), { encoder });
    expect(model.parameters.neighbours).toMatchObject({ conversations: 600, outputs: 2 });
    const place = join(folder, 'model');
    await model.save(place);
    const opened = await LearnedModel.open(place, { encoder });
    expect(opened.version).toBe(model.version);
    const conversations = asked.map(conversation);
    expect(await opened.encoder.encode(conversations)).toEqual(await model.encoder.encode(conversations));
    const decisions = await (await Router.open(place, { encoder })).route(conversations);
    expect(decisions.map(({ expert }) => expert)).toEqual(asked.map(better));
    const online = await OnlineLearner.start(opened);
    await online.update(outcomes(8));
    const live = await (await Router.from(online)).route(conversations);
    expect(live.map(({ expert }) => expert)).toEqual(asked.map(better));
    await opened.save(join(folder, 'again'));
    const again = await LearnedModel.open(join(folder, 'again'), { encoder });
    expect(again.version).toBe(model.version);
    again.close();
    again.close();
    await expect(again.encoder.encode(conversations)).rejects.toMatchObject({ code: 'CLOSED' });
  });

  it('gives the same model on every thread count', async () => {
    const [one, three] = await Promise.all([1, 3].map((threads) => learn(outcomes(300), { encoder, threads })));
    expect(one?.parameters.neighbours).toBeDefined();
    expect(three?.version).toBe(one?.version);
  });

  it('does not remember where a regression tells as much', async () => {
    const straight = outcomes(400).map((record) => {
      const n = Number(record.conversation[0]?.content);
      return { ...record, score: (record.expert === 'odd') === Boolean(n & 1) ? 1 : 0 };
    });
    const model = await learn(straight, { encoder });
    expect(model.parameters.neighbours).toBeUndefined();
    expect(model.parameters.chosen.rank).toBe(2);
  });

  it('hears an abort', async () => {
    const controller = new AbortController();
    const stopping = learn(outcomes(300), {
      encoder,
      signal: controller.signal,
      onProgress: ({ stage }) => stage === 'neighbours' && controller.abort(),
    });
    await expect(stopping).rejects.toMatchObject({ code: 'ABORTED' });
  });

  it('refuses a folder whose neighbours are missing, torn, or of another model', async () => {
    const [place, other] = [join(folder, 'torn'), join(folder, 'other')];
    await (await learn(outcomes(300), { encoder })).save(place);
    await (await learn(outcomes(600).slice(600), { encoder })).save(other); // as many
    const file = (of: string) => join(of, readdirSync(of).find((name) => name.startsWith('neighbours-')) as string);
    const refused = (code: string) => expect(LearnedModel.open(place, { encoder })).rejects.toMatchObject({ code });
    copyFileSync(file(other), file(place));
    await refused('FILE_CORRUPT');
    truncateSync(file(place), 5000);
    await refused('FILE_CORRUPT');
    unlinkSync(file(place));
    await refused('FILE_MISSING');
  });
});
