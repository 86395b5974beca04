/** Scores, attributes and encoders on the command line: learn, route, evaluate. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EndpointServer, send } from './endpoint-server.js';
import { cli } from './terminal.js';

let folder: string;
const file = (name: string) => join(folder, name);
const expand = (args: string[]) => args.map((arg) => arg.replaceAll('DIR', folder));
const say = (content: string) => [{ role: 'user', content }];

/** The texts tell nothing: who is good depends on the tier alone. */
const LOG = Array.from({ length: 240 }, (_, n) => {
  const tier = n % 2 ? 'gold' : 'plain';
  const expert = ['rich', 'poor'][Math.floor(n / 2) % 2] as string;
  const good = (expert === 'rich') === (tier === 'gold');
  const attributes = { tier, shift: n % 3 ? 'day' : 'night' };
  return { conversation: say(`Please help me, case ${n % 13}`), attributes, expert, score: good ? 1 - (n % 7) / 20 : (n % 5) / 20 };
});
const SCORES = 'expert,luxury,thrift\nrich,0.9,0.2\npoor,0.1,0.8\nnewcomer,0.85,\n';
const LABELLED = [
  ['Describe the harbour', 'luxury'],
  ['Describe the castle', 'luxury'],
  ['How cheap is bread?', 'thrift'],
  ['How cheap is milk?', 'thrift'],
].map(([content, dimension]) => ({ conversation: say(content as string), dimension }));
const lines = (records: readonly unknown[]) => records.map((record) => JSON.stringify(record)).join('\n');

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'pointsman-content-'));
  writeFileSync(file('log.jsonl'), lines(LOG));
  writeFileSync(file('scores.csv'), SCORES);
  writeFileSync(file('torn.csv'), SCORES.slice(0, SCORES.indexOf('newcomer') + 12));
  writeFileSync(file('strangers.csv'), SCORES.replaceAll(/(rich|poor|newcomer)/g, 'x$1'));
  writeFileSync(file('labelled.jsonl'), lines(LABELLED));
  writeFileSync(file('unlabelled.jsonl'), lines([{ conversation: say('Hi') }]));
  writeFileSync(file('mislabelled.jsonl'), lines([{ conversation: say('Hi'), dimension: 'speed' }]));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('attributes', () => {
  it('are learned from, and given to route by option and in lines of a file', async () => {
    const learned = await cli(expand(['learn', '--data', 'DIR/log.jsonl', '--attributes', 'tier', '--out', 'DIR/tiers', '--json']));
    expect(learned.json()).toMatchObject({ records: 240, experts: 2, attributes: ['tier'] });
    const route = async (args: string[], stdin = '') => {
      const decisions = (await cli(expand(['route', '--model', 'DIR/tiers', '--json', ...args]), { stdin })).json();
      return decisions.map(({ expert, attributes }: { expert: string; attributes?: object }) => [expert, attributes]);
    };
    expect(await route(['Please help me', '--attributes', 'tier=gold'])).toEqual([['rich', { tier: 'gold' }]]);
    expect(await route(['Please help me', '--attributes', ' tier = plain '])).toEqual([['poor', { tier: 'plain' }]]);
    expect(await route(['Please help me', '--attributes', 'tier=a=b'])).toEqual([[expect.any(String), { tier: 'a=b' }]]);
    expect((await route(['Please help me']))[0][1]).toBeUndefined();
    // Of a log's lines the model takes what it knows.
    const asked = lines([LOG[0], LOG[1]]);
    expect(await route(['--file', '-'], asked)).toEqual([
      ['poor', { tier: 'plain' }],
      ['rich', { tier: 'gold' }],
    ]);
    expect(await route(['--file', '-', '--attributes', 'tier=gold'], asked)).toEqual([
      ['rich', { tier: 'gold' }],
      ['rich', { tier: 'gold' }],
    ]);
  });

  it.each<[string, number, RegExp, string[]]>([
    ['BAD_ARGUMENT', 1, /no attribute 'teir', only tier/, ['route', '--model', 'DIR/tiers', 'Hi', '--attributes', 'teir=gold']],
    ['USAGE', 2, /must look like tier=gold/, ['route', '--model', 'DIR/tiers', 'Hi', '--attributes', 'tier']],
    ['USAGE', 2, /must look like tier=gold/, ['route', '--model', 'DIR/tiers', 'Hi', '--attributes', 'tier=']],
    ['USAGE', 2, /must look like tier=gold/, ['route', '--model', 'DIR/tiers', 'Hi', '--attributes', '']],
    ['USAGE', 2, /gives tier twice/, ['route', '--model', 'DIR/tiers', 'Hi', '--attributes', 'tier=a,tier=b']],
    ['BAD_ARGUMENT', 1, /has the attribute 'teir'/, ['learn', '--data', 'DIR/log.jsonl', '--attributes', 'teir', '--out', 'DIR/never']],
    ['USAGE', 2, /must look like a,b/, ['learn', '--data', 'DIR/log.jsonl', '--attributes', 'tier,', '--out', 'DIR/never']],
  ])('%s, exit code %i: %s', async (code, exit, message, args) => {
    const { err, out, code: found } = await cli(expand(args));
    expect(err).toMatch(message);
    expect(err).toContain(`(${code})`);
    expect([out, found]).toEqual(['', exit]);
  });

  it('of a line must be strings', async () => {
    const { err } = await cli(expand(['route', '--model', 'DIR/tiers', '--file', '-']), {
      stdin: `"Hi"\n${JSON.stringify({ conversation: say('Hi'), attributes: { tier: 3 } })}\n`,
    });
    expect(err).toMatch(/standard input, line 2: the attribute 'tier' must have .*\(BAD_DATA\)/);
  });
});

describe('scores', () => {
  it('with outcomes: named dimensions first, and an expert without outcomes can be chosen', async () => {
    const args = expand(['learn', '--data', 'DIR/log.jsonl', '--scores', 'DIR/scores.csv', '--out', 'DIR/hybrid']);
    expect((await cli([...args, '--json'])).json()).toMatchObject({
      records: 240,
      experts: 3,
      scores: { dimensions: ['luxury', 'thrift'], experts: 3, withoutOutcomes: 1, withoutScores: 0 },
    });
    expect((await cli(args)).out).toMatch(
      /from 240 outcomes of 2 experts in \d+ conversations, and scores of 3 experts in luxury, thrift \(1 without outcomes; 0 others without scores\)/,
    );
    const [decision] = (await cli(expand(['route', '--model', 'DIR/hybrid', 'Hi', '--attributes', 'tier=gold', '--json']))).json();
    expect(decision.candidates.map(({ expert }: { expert: string }) => expert).sort()).toEqual(['newcomer', 'poor', 'rich']);
    const { out } = await cli(expand(['route', '--model', 'DIR/hybrid', 'Hi', '--attributes', 'tier=gold']));
    expect(out).toMatch(/\(weight × predicted advantage in standard deviations\)$/m);
  });

  it('alone: an attribute names the dimension, or labelled conversations teach it, and route says why', async () => {
    const { code, out } = await cli(expand(['learn', '--scores', 'DIR/scores.csv', '--attributes', 'wish', '--out', 'DIR/alone']));
    expect([code, out]).toEqual([0, expect.stringMatching(/learned score in 3 dimensions from scores of 3 experts in luxury, thrift, /)]);
    const routed = await cli(expand(['route', '--model', 'DIR/alone', 'Hi', '--attributes', 'wish=thrift']));
    expect(routed.out).toMatch(/^expert +poor$/m);
    expect(routed.out).toMatch(/\+0\.800 {2}thrift 0\.80 × 1\.00$/m);
    expect(routed.out).toMatch(/why poor scores \+0\.800 \(weight × the table's scores, .*; no outcome has calibrated them\)$/m);
    expect(routed.out).not.toContain('standard deviations');

    expect((await cli(expand(['learn', '--scores', 'DIR/scores.csv', '--labelled', 'DIR/labelled.jsonl', '--out', 'DIR/text']))).code).toBe(
      0,
    );
    const choose = async (content: string) => (await cli(expand(['route', '--model', 'DIR/text', content, '--json']))).json()[0];
    expect((await choose('How cheap is tea?')).expert).toBe('poor');
    const decision = await choose('Describe the palace');
    expect(decision.expert).toBe('rich');
    const { contributions } = decision.candidates[0];
    expect(contributions.dimensions[0]).toBeCloseTo(0.9 * decision.projection[0], 5); // score × what is asked
    expect(decision.projection[0]).toBeGreaterThan(decision.projection[1]);
  });

  it.each<[string, number, RegExp, string[]]>([
    ['FILE_MISSING', 1, /none\.csv/, ['--data', 'DIR/log.jsonl', '--scores', 'DIR/none.csv']],
    ['BAD_DATA', 1, /torn\.csv, line 4: 1 score, but there are 2/, ['--data', 'DIR/log.jsonl', '--scores', 'DIR/torn.csv']],
    [
      'NOT_ENOUGH_DATA',
      1,
      /no expert of the score table \('xrich', .* has an outcome; the outcomes are of 'rich', 'poor'/,
      ['--data', 'DIR/log.jsonl', '--scores', 'DIR/strangers.csv'],
    ],
    ['USAGE', 2, /needs either --labelled or --attributes/, ['--scores', 'DIR/scores.csv']],
    ['USAGE', 2, /needs either --labelled or --attributes/, ['--scores', 'DIR/scores.csv', '--attributes', 'a,b']],
    ['USAGE', 2, /--labelled is for models without --data/, ['--data', 'DIR/log.jsonl', '--labelled', 'DIR/labelled.jsonl']],
    ['USAGE', 2, /--encoder needs --data/, ['--scores', 'DIR/scores.csv', '--attributes', 'a', '--encoder', 'DIR/none.json']],
    ['USAGE', 2, /--data is needed, or --scores/, []],
    ['BAD_DATA', 1, /unlabelled\.jsonl, .*1: expected/, ['--scores', 'DIR/scores.csv', '--labelled', 'DIR/unlabelled.jsonl']],
    ['BAD_ARGUMENT', 1, /example 1 is labelled 'speed'/, ['--scores', 'DIR/scores.csv', '--labelled', 'DIR/mislabelled.jsonl']],
    ['FILE_MISSING', 1, /none\.jsonl/, ['--scores', 'DIR/scores.csv', '--labelled', 'DIR/none.jsonl']],
  ])('%s, exit code %i: %s', async (code, exit, message, args) => {
    const { err, out, code: found } = await cli(expand(['learn', ...args, '--out', 'DIR/never']));
    expect(err).toMatch(message);
    expect(err).toContain(`(${code})`);
    expect([out, found]).toEqual(['', exit]);
  });

  it('--help has an example of each', async () => {
    expect((await cli(['learn', '--help'])).out).toMatch(/Example.*:\n.*--data.*\n.*--attributes .* --scores .*\n.*--labelled/);
    expect((await cli(['route', '--help'])).out).toMatch(/Example.*:\n.*\n.*--attributes tier=gold/);
  });
});

describe('evaluate --encoder', () => {
  it('routes by an encoder that is asked for each conversation once', async () => {
    // Only the encoder sees what tells the subjects apart: the words are the same.
    const server = await new EndpointServer(({ body }, response) => {
      const vector = (text: string) => {
        const n = Number(/\d+/.exec(text)?.[0] ?? 0); // the encoder begins with a text of its own
        return [n % 2 ? 1 : -1, Math.sin(n), Math.cos(3 * n), 0.1 * Math.sin(7 * n)];
      };
      send(response, { data: body.input.map((text: string, index: number) => ({ index, embedding: vector(text) })) });
    }).start();
    try {
      mkdirSync(file('matrix'));
      const prompts = Array.from({ length: 120 }, (_, i) => ({ i, prompt: `Case ${i} of the list` }));
      writeFileSync(join(file('matrix'), 'prompts.jsonl'), lines(prompts));
      const row = (name: string, of: (i: number) => number) => [name, ...prompts.map(({ i }) => of(i))].join(',');
      const header = ['model', ...prompts.keys()].join(',');
      writeFileSync(
        join(file('matrix'), 'scores.csv'),
        [header, row('odd', (i) => i % 2), row('even', (i) => 1 - (i % 2)), row('plain', () => 0.4)].join('\n'),
      );
      writeFileSync(file('encoder.json'), JSON.stringify({ kind: 'endpoint', baseUrl: server.url, model: 'small' }));
      const args = expand(['evaluate', '--data', 'DIR/matrix', '--folds', '3', '--seeds', '2', '--replicates', '100', '--json']);
      const result = (await cli([...args, '--encoder', file('encoder.json')])).json();
      expect(result.router.mean).toBeGreaterThan(0.95);
      expect(result.router.mean).toBeGreaterThan((await cli(args)).json().router.mean + 0.2);
      const asked = server.asked.flatMap(({ body }) => body.input as string[]).filter((text) => text.startsWith('Case'));
      expect([asked.length, new Set(asked).size]).toEqual([120, 120]);
    } finally {
      await server.stop();
    }
  });

  it.each([
    ['cells reads no conversations', ['--protocol', 'cells']],
    ['leave-one-out reads no conversations', ['--protocol', 'leave-one-out']],
    ['--without-outcomes routes by the category', ['--scores', 'category-means', '--without-outcomes']],
  ])('%s', async (message, args) => {
    const { err, code } = await cli(expand(['evaluate', '--data', 'DIR/none', ...args, '--encoder', 'DIR/none.json']));
    expect([code, err]).toEqual([2, expect.stringContaining(message)]);
  });
});
