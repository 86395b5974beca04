/** The command line, run in this process: every command, its errors, its JSON and its help. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cli } from './terminal.js';

let folder: string;
const file = (name: string) => join(folder, name);

/** A log in which `coder` is good at code, `poet` at poems, and `plain` at neither. */
function log(records: number): string {
  const topics = ['code', 'poem'] as const;
  const words = {
    code: ['Fix my Rust function', 'Why does this Python code crash', 'Write a SQL query'],
    poem: ['Write a poem about rain', 'A sonnet for my mother', 'Verses on autumn'],
  };
  const experts = ['coder', 'poet', 'plain'];
  return Array.from({ length: records }, (_, n) => {
    const topic = topics[n % 2] as 'code' | 'poem';
    const expert = experts[Math.floor(n / 2) % 3] as string;
    const good = expert === (topic === 'code' ? 'coder' : 'poet');
    const content = `${words[topic][Math.floor(n / 6) % 3]}, please, case ${n % 17}.`;
    return JSON.stringify({
      conversation: [{ role: 'user', content }],
      expert,
      retry: good ? n % 10 === 0 : n % 10 < 6,
      rating: good ? 4 + (n % 2) : 1 + (n % 3),
      length: good ? 6 + (n % 5) : n % 3,
      propensity: 1 / 3,
      at: '2026-01-01T00:00:00Z',
    });
  }).join('\n');
}

function npy(rows: number[][]): Buffer {
  const dict = `{'descr': '<f4', 'fortran_order': False, 'shape': (${rows.length}, ${rows[0]?.length}), }`;
  const header = `${dict.padEnd(Math.ceil((dict.length + 11) / 64) * 64 - 11)}\n`;
  const head = Buffer.from('\x93NUMPY\x01\x00\x00\x00', 'latin1');
  head.writeUInt16LE(header.length, 8);
  return Buffer.concat([head, Buffer.from(header), Buffer.from(Float32Array.from(rows.flat()).buffer)]);
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'pointsman-cli-'));
  writeFileSync(file('log.jsonl'), `${log(900)}\n`);
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('every command', () => {
  it.each(['import', 'learn', 'route', 'evaluate', 'index', 'judge', 'doctor'])('%s --help says how, with an example', async (name) => {
    const { code, out } = await cli([name, '--help']);
    expect(code).toBe(0);
    expect(out).toContain(`Usage: pointsman ${name}`);
    expect(out).toContain(`Example:\n  pointsman ${name}`);
    expect(out).toContain('--json');
  });

  it('names the commands, the version, and what is wrong', async () => {
    expect((await cli(['--help'])).out).toMatch(
      /import .*\n.*learn .*\n.*route .*\n.*evaluate .*\n.*index .*\n.*judge .*\n.*factorise .*\n.*objective .*\n.*doctor /,
    );
    expect(await cli([])).toMatchObject({ code: 2 });
    expect(await cli(['--version'])).toMatchObject({ code: 0, out: '1.2.3\n' });
    expect(await cli(['rout'])).toMatchObject({
      code: 2,
      out: '',
      err: expect.stringMatching(/^error: there is no command 'rout'.*\(USAGE\)\n$/),
    });
    expect(await cli(['route', '--modle', 'x'])).toMatchObject({ code: 2, err: expect.stringContaining('pointsman route --help') });
    expect((await cli(['route', '--modle', 'x', '--json'])).json()).toEqual({ error: { code: 'USAGE', message: expect.any(String) } });
  });
});

describe('learn and route', () => {
  beforeAll(async () => {
    const { code, err } = await cli(['learn', '--data', file('log.jsonl'), '--out', file('model'), '--seed', '1']);
    expect(err).toBe('');
    expect(code).toBe(0);
  });

  it('routes to the expert that the log shows to be good', async () => {
    const { code, out } = await cli([
      'route',
      '--model',
      file('model'),
      'Write a poem about rain, please, case 3.',
      '--objective',
      'retry=-1,rating=0.5',
      '-k',
      '2',
    ]);
    expect(code).toBe(0);
    expect(out).toMatch(/^expert +poet$/m);
    expect(out).toMatch(/% retried/);
    expect(out).toMatch(/propensity 1\.000/);
    expect(out).toContain('merit whatever the conversation');
    const [decision] = (await cli(['route', '--model', file('model'), 'Fix my Rust function, please, case 5.', '--json'])).json();
    expect(decision.expert).toBe('coder');
    expect(decision.candidates).toHaveLength(3);
    expect(decision.objective).toEqual({ retry: -1, rating: 0.5, length: 0.2 });
  });

  it('takes conversations from standard input and from files, as JSON or JSON lines', async () => {
    const messages = [{ role: 'user', content: 'Write a SQL query, please, case 2.' }];
    const forms = [messages, [messages], { conversation: messages }, { messages }, [messages[0]?.content]].map((form) =>
      JSON.stringify(form),
    );
    for (const stdin of [...forms, `${forms[0]}\n${forms[2]}\n\n`]) {
      const decisions = (await cli(['route', '--model', file('model'), '--file', '-', '--json'], { stdin })).json();
      expect(decisions.map((decision: { expert: string }) => decision.expert)).toEqual(decisions.map(() => 'coder'));
      expect(decisions[0].conversation).toEqual(messages);
    }
    writeFileSync(file('asked.json'), forms[1] as string);
    expect((await cli(['route', '--model', file('model'), '--file', file('asked.json'), '--json'])).json()).toHaveLength(1);
  });

  it('keeps to eligible and exclude, lists from a file too, and explores with a seed', async () => {
    const route = async (...more: string[]) =>
      (await cli(['route', '--model', file('model'), 'Fix my Rust function', '--json', ...more])).json();
    expect((await route('--exclude', 'coder'))[0].expert).not.toBe('coder');
    expect((await route('--eligible', 'plain,poet', '--exclude', 'poet'))[0].expert).toBe('plain');
    writeFileSync(file('ids.txt'), 'plain\r\n\n');
    expect((await route('--eligible', `@${file('ids.txt')}`))[0].candidates).toHaveLength(1);
    const [explored] = await route('--explore', '1', '--among', '3', '--seed', '5');
    expect(explored.propensity).toBeCloseTo(1 / 3);
    expect((await route('--explore', '1', '--among', '3', '--seed', '5'))[0].expert).toBe(explored.expert);
    const nobody = async (...more: string[]) =>
      (await cli(['route', '--model', file('model'), 'Hi', '--eligible', 'nobody', '--json', ...more])).json().error.code;
    expect(await nobody()).toBe('UNKNOWN_EXPERT');
    expect(await nobody('--ignore-unknown')).toBe('NO_CANDIDATES');
  });

  it.each<[string, number, string[]]>([
    ['USAGE', 2, ['route', 'Hi']],
    ['USAGE', 2, ['route', '--model', 'MODEL']],
    ['USAGE', 2, ['route', '--model', 'MODEL', 'two', 'words']],
    ['USAGE', 2, ['route', '--model', 'MODEL', 'Hi', '--objective', 'retry']],
    ['USAGE', 2, ['route', '--model', 'MODEL', 'Hi', '-k', 'many']],
    ['USAGE', 2, ['route', '--model', 'MODEL', 'Hi', '--among', '3']],
    ['BAD_OBJECTIVE', 1, ['route', '--model', 'MODEL', 'Hi', '--objective', 'speed=1']],
    ['BAD_OBJECTIVE', 1, ['route', '--model', 'MODEL', 'Hi', '--objective', 'retry=0']],
    ['BAD_K', 1, ['route', '--model', 'MODEL', 'Hi', '-k', '0']],
    ['FILE_MISSING', 1, ['route', '--model', 'NOWHERE', 'Hi']],
    ['FILE_MISSING', 1, ['route', '--model', 'MODEL', '--file', 'NOWHERE']],
    ['BAD_ARGUMENT', 1, ['route', '--model', 'MODEL', 'Hi', '--explore', '2']],
    ['FILE_MISSING', 1, ['learn', '--data', 'NOWHERE', '--out', 'OUT']],
    ['USAGE', 2, ['learn', '--data', 'NOWHERE']],
    ['FILE_MISSING', 1, ['evaluate', '--data', 'NOWHERE']],
    ['FILE_MISSING', 1, ['import', '--data', 'NOWHERE', '--out', 'OUT']],
  ])('%s, exit code %i: %j', async (expected, exit, args) => {
    const names: { [name: string]: string } = { MODEL: file('model'), NOWHERE: file('nowhere'), OUT: file('out') };
    const { code, out, err, json } = await cli([...args.map((arg) => names[arg] ?? arg), '--json']);
    expect(json().error.code).toBe(expected);
    expect(out.split('\n')).toHaveLength(2);
    expect(code).toBe(exit);
    expect(err).toBe('');
  });

  it('an interrupt ends it with 130', async () => {
    const interrupt = new AbortController();
    interrupt.abort();
    const { code, err } = await cli(['learn', '--data', file('log.jsonl'), '--out', file('never')], { signal: interrupt.signal });
    expect(code).toBe(130);
    expect(err).toMatch(/\(ABORTED\)/);
  });

  it('shows progress on a terminal or when asked to', async () => {
    const learn = (isTTY: boolean, ...more: string[]) =>
      cli(['learn', '--data', file('log.jsonl'), '--out', file('again'), ...more], { isTTY });
    expect((await learn(true)).err).toContain('\r');
    expect((await learn(false)).err).toBe('');
    expect((await learn(false, '--progress')).err).toMatch(/^\w+/);
    expect((await learn(true, '--json')).err).toBe('');
  });
});

describe('import', () => {
  it('normalises a log, also compressed, and reports', async () => {
    writeFileSync(file('log.jsonl.gz'), gzipSync(log(300)));
    const { code, json } = await cli(['import', '--data', file('log.jsonl.gz'), '--out', file('clean.jsonl.gz'), '--json']);
    expect(code).toBe(0);
    expect(json()).toMatchObject({ records: 300, experts: 3, metrics: { retry: 300, rating: 300, length: 300 }, withPropensity: 300 });
    const lines = gunzipSync(readFileSync(file('clean.jsonl.gz')))
      .toString()
      .trim()
      .split('\n');
    expect(lines).toHaveLength(300);
    expect(JSON.parse(lines[0] as string)).toMatchObject({
      expert: 'coder',
      retry: true,
      propensity: 1 / 3,
      at: '2026-01-01T00:00:00.000Z',
    });
  });

  it('turns a matrix into a log', async () => {
    const matrix = mkdtempSync(file('matrix-'));
    writeFileSync(join(matrix, 'prompts.jsonl'), '{"i":0,"prompt":"One"}\n{"i":1,"prompt":"Two"}\n');
    writeFileSync(join(matrix, 'scores.csv'), 'model,0,1\na,1,0.5\nb,,0\n');
    const { code, json } = await cli(['import', '--data', matrix, '--out', file('matrix.jsonl'), '--json']);
    expect(code).toBe(0);
    expect(json()).toMatchObject({ records: 3, conversations: 2, experts: 2, metrics: { score: 3 } });
    expect(readFileSync(file('matrix.jsonl'), 'utf8')).toContain('"score":0.5');
  });

  it('names file and line of what is malformed', async () => {
    writeFileSync(file('broken.jsonl'), `${log(2)}\n{"conversation":[{"role":"user","content":"Hi"}],"expert":"x","rating":9}\n`);
    const { code, err } = await cli(['import', '--data', file('broken.jsonl'), '--out', file('out.jsonl')]);
    expect(code).toBe(1);
    expect(err).toMatch(/broken\.jsonl.*3.*rating.*\(BAD_DATA\)/);
  });
});

describe('evaluate', () => {
  it('a log: off-policy, with effective sample sizes', async () => {
    const result = (await cli(['evaluate', '--data', file('log.jsonl'), '--folds', '3', '--replicates', '200', '--json'])).json();
    expect(result.protocol).toContain('off-policy');
    expect(result.values.rating.router.snips.mean).toBeGreaterThan(result.values.rating.bestSingle.snips.mean + 0.3);
    expect(result.values.rating.router.effectiveSampleSize).toBeGreaterThan(100);
    expect(result.values.retry.router.snips.high).toBeLessThan(result.values.retry.logged.mean);
  });

  it('a matrix: cross-validation, split and log', async () => {
    const matrix = mkdtempSync(file('matrix-'));
    const topics = ['Fix my Rust function number', 'Write a poem about thing'];
    const prompts = Array.from({ length: 240 }, (_, i) => ({
      i,
      prompt: `${topics[i % 2]} ${i}`,
      split: i < 160 ? 'train' : 'test',
      category: i % 2 ? 'poem' : 'code',
    }));
    writeFileSync(join(matrix, 'prompts.jsonl'), prompts.map((prompt) => JSON.stringify(prompt)).join('\n'));
    const row = (name: string, of: (i: number) => number) => [name, ...prompts.map(({ i }) => of(i))].join(',');
    writeFileSync(
      join(matrix, 'scores.csv'),
      [
        ['model', ...prompts.keys()].join(','),
        row('coder', (i) => 1 - (i % 2)),
        row('poet', (i) => (i % 4 ? i % 2 : 0.2)),
        row('plain', () => 0.3),
      ].join('\n'),
    );
    const evaluate = async (...more: string[]) =>
      (await cli(['evaluate', '--data', matrix, '--replicates', '200', '--seeds', '2', '--json', ...more])).json();
    const cv = await evaluate('--folds', '3');
    expect(cv).toMatchObject({ protocol: '3-fold cross-validation', conversations: 240, experts: 3, seeds: [0, 1] });
    expect(cv.router.mean).toBeGreaterThan(0.95);
    expect(cv.gain.low).toBeGreaterThan(0.3);
    const split = await evaluate('--protocol', 'split');
    expect(split).toMatchObject({ conversations: 80, protocol: 'train → test, macro mean over 2 categories' });
    expect(split.router.mean).toBeGreaterThan(0.95);
    const log = await evaluate('--protocol', 'log', '--by', 'split');
    expect(log.protocol).toMatch(/^log, /);
    expect(log.router.mean).toBeGreaterThan(0.7);
    const { out } = await cli(['evaluate', '--data', matrix, '--replicates', '100', '--seeds', '1', '--folds', '2']);
    expect(out).toMatch(/best single expert +0\.\d{4} +\[0\.\d{4}, 0\.\d{4}\]/);
    expect(out).toContain('router − best single');
  });
});

describe('index', () => {
  it('builds from .npy or .fbin, inspects and searches', async () => {
    writeFileSync(
      file('v.npy'),
      npy([
        [1, 0],
        [0, 1],
        [1, 1],
      ]),
    );
    writeFileSync(file('names.txt'), 'east\nnorth\nboth\n');
    writeFileSync(file('q.fbin'), Buffer.concat([Buffer.from(Int32Array.of(1, 2).buffer), Buffer.from(Float32Array.of(0, 2).buffer)]));
    const built = await cli(['index', 'build', '--vectors', file('v.npy'), '--ids', file('names.txt'), '--out', file('v.index'), '--json']);
    expect(built.json()).toEqual({ out: file('v.index'), size: 3, dimensions: 2 });
    expect((await cli(['index', 'inspect', '--index', file('v.index'), '--json'])).json()).toMatchObject({
      size: 3,
      dimensions: 2,
      firstIds: ['east', 'north', 'both'],
    });
    const search = async (...more: string[]) =>
      (await cli(['index', 'search', '--index', file('v.index'), '--queries', file('q.fbin'), '-k', '2', '--json', ...more])).json();
    expect(await search()).toEqual({
      k: 2,
      results: [
        [
          { id: 'north', score: 2 },
          { id: 'both', score: 2 },
        ],
      ],
    });
    expect((await search('--eligible', 'east,both')).results[0][0].id).toBe('both');
    expect((await cli(['index', 'search', '--index', file('v.index'), '--queries', file('q.fbin')])).out).toContain('2.000000  north');
  });

  it.each<[string, string[], (() => void)?]>([
    ['USAGE', ['index']],
    ['USAGE', ['index', 'burn']],
    ['USAGE', ['index', 'build', '--out', 'x']],
    ['FILE_MISSING', ['index', 'build', '--vectors', 'FOLDER/none.npy', '--out', 'FOLDER/x']],
    ['FILE_MISSING', ['index', 'inspect', '--index', 'FOLDER/none.index']],
    [
      'BAD_DATA',
      ['index', 'build', '--vectors', 'FOLDER/short.npy', '--out', 'FOLDER/x'],
      () => writeFileSync(file('short.npy'), npy([[1, 2]]).subarray(0, -1)),
    ],
    [
      'BAD_DATA',
      ['index', 'build', '--vectors', 'FOLDER/any.bin', '--out', 'FOLDER/x'],
      () => writeFileSync(file('any.bin'), 'anything at all'),
    ],
    [
      'BAD_DATA',
      ['index', 'build', '--vectors', 'FOLDER/one.npy', '--ids', 'FOLDER/two.txt', '--out', 'FOLDER/x'],
      () => {
        writeFileSync(file('one.npy'), npy([[1, 2]]));
        writeFileSync(file('two.txt'), 'a\nb');
      },
    ],
    [
      'FILE_CORRUPT',
      ['index', 'inspect', '--index', 'FOLDER/torn.index'],
      () => writeFileSync(file('torn.index'), readFileSync(file('v.index')).subarray(0, -3)),
    ],
  ])('%s: %j', async (code, args, prepare) => {
    prepare?.();
    const { json } = await cli([...args.map((arg) => arg.replace('FOLDER', folder)), '--json']);
    expect(json().error.code).toBe(code);
  });
});

describe('doctor', () => {
  it('says what runs here and why', async () => {
    const { code, json } = await cli(['doctor', '--json']);
    expect(code).toBe(0);
    expect(json()).toMatchObject({
      ok: true,
      node: { version: process.versions.node },
      addon: { loaded: true, isa: expect.any(String), isaReason: expect.any(String), threads: expect.any(Number) },
    });
    expect((await cli(['doctor'])).out).toMatch(/instruction set +\w+: .+\n.*\nbackends\n +cpu: available/);
  });
});
