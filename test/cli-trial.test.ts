/** What newcomers run into: outputs that cannot be written, slips on the command line, data that is not quite right. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import * as native from '../src/native.js';
import { cli } from './terminal.js';

let folder: string;
const file = (name: string) => join(folder, name);

const record = (n: number, fields: object = {}) =>
  JSON.stringify({
    conversation: [{ role: 'user', content: `${n % 2 ? 'Write a poem' : 'Fix my code'} ${n % 7}` }],
    expert: ['one', 'two', 'three'][n % 3],
    retry: n % 4 === 0,
    propensity: 1 / 3,
    ...fields,
  });
const LOG = Array.from({ length: 90 }, (_, n) => record(n)).join('\n');

function npy(rows: number[][]): Buffer {
  const header = `{'descr': '<f4', 'fortran_order': False, 'shape': (${rows.length}, ${rows[0]?.length}), }\n`;
  const head = Buffer.from('\x93NUMPY\x01\x00\x00\x00', 'latin1');
  head.writeUInt16LE(header.length, 8);
  return Buffer.concat([head, Buffer.from(header), Buffer.from(Float32Array.from(rows.flat()).buffer)]);
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'pointsman-trial-'));
  writeFileSync(file('log.jsonl'), LOG);
  writeFileSync(file('empty.jsonl'), '\n\n');
  writeFileSync(file('v.npy'), npy([[1, 0], [0, 1]])); // biome-ignore format: a matrix
  expect((await cli(['learn', '--data', file('log.jsonl'), '--out', file('model')])).err).toBe('');
  expect((await cli(['index', 'build', '--vectors', file('v.npy'), '--out', file('v.index')])).err).toBe('');
});
afterAll(() => rmSync(folder, { recursive: true }));

const expand = (args: string[]) => args.map((arg) => arg.replace('DIR', folder));

describe('where results go', () => {
  it.each<[string, RegExp, string[]]>([
    ['FILE_IO', /log\.jsonl is a file/, ['learn', '--data', 'DIR/none', '--out', 'DIR/log.jsonl/model']],
    ['FILE_MISSING', /the folder .*none does not exist/, ['import', '--data', 'DIR/none.jsonl', '--out', 'DIR/none/x.jsonl']],
    ['FILE_IO', /is a folder/, ['import', '--data', 'DIR/none.jsonl', '--out', 'DIR/model']],
    ['FILE_MISSING', /the folder .*none does not exist/, ['index', 'build', '--vectors', 'DIR/none.npy', '--out', 'DIR/none/x']],
  ])('%s %s before any work', async (code, message, args) => {
    const { err, code: exit } = await cli(expand(args));
    expect(err).toMatch(message);
    expect(err).toContain(`(${code})`);
    expect(exit).toBe(1);
  });

  it.runIf(process.platform === 'linux')('a folder that takes no files ends at once', async () => {
    expect((await cli(['learn', '--data', file('log.jsonl'), '--out', '/proc/pointsman'])).err).toMatch(/\/proc.*\(FILE_IO\)/);
  });
});

describe('vectors', () => {
  it('of another width, or with NaN, are named', async () => {
    writeFileSync(file('wide.npy'), npy([[1, 2, 3]]));
    const wide = await cli(['index', 'search', '--index', file('v.index'), '--queries', file('wide.npy')]);
    expect(wide.err).toMatch(/wide\.npy: the queries have 3 columns, the index 2 dimensions \(WRONG_SHAPE\)/);
    writeFileSync(file('nan.npy'), npy([[1, 2], [1, Number.NaN]])); // biome-ignore format: a matrix
    for (const args of [
      ['search', '--index', file('v.index'), '--queries', file('nan.npy')],
      ['build', '--vectors', file('nan.npy'), '--out', file('nan.index')],
    ]) {
      expect((await cli(['index', ...args])).err).toMatch(/nan\.npy: row 1 .*NaN.*\(NOT_FINITE\)/);
    }
    writeFileSync(file('huge.npy'), npy([[1e30, 0]]));
    expect((await cli(['index', 'build', '--vectors', file('huge.npy'), '--out', file('h')])).err).toMatch(
      /huge\.npy: .*\(NORM_TOO_LARGE\)/,
    );
  });

  it('eligible ids must be in the index unless told otherwise', async () => {
    const search = ['index', 'search', '--index', file('v.index'), '--queries', file('v.npy'), '--eligible', '0,7'];
    expect((await cli(search)).err).toMatch(/no '7' .*\(UNKNOWN_EXPERT\)/);
    expect(await cli([...search, '--ignore-unknown'])).toMatchObject({ code: 0, err: '' });
  });
});

describe('slips on the command line', () => {
  it.each<[string, number, RegExp, string[]]>([
    ['USAGE', 2, /weighs retry twice/, ['route', '--model', 'DIR/model', 'Hi', '--objective', 'retry=-1,retry=1']],
    ['BAD_K', 1, /not -3/, ['route', '--model', 'DIR/model', 'Hi', '-k', '-3']],
    ['BAD_K', 1, /not 0/, ['route', '--model', 'DIR/model', 'Hi', '-k', '0']],
    ['BAD_K', 1, /not 0/, ['index', 'search', '--index', 'DIR/v.index', '--queries', 'DIR/v.npy', '-k', '0']],
    ['BAD_K', 1, /not -3/, ['index', 'search', '--index', 'DIR/v.index', '--queries', 'DIR/v.npy', '-k', '-3']],
    ['USAGE', 2, /--seed must be an integer of at least 0, not -1/, ['learn', '--data', 'x', '--out', 'DIR/m', '--seed', '-1']],
    ['BAD_ARGUMENT', 1, /from 0 to 1, not -0\.1/, ['route', '--model', 'DIR/model', 'Hi', '--explore', '-0.1']],
    ['USAGE', 2, /--out.*ambiguous/, ['learn', '--data', 'x', '--out', '-y']],
    ['USAGE', 2, /'please'/, ['doctor', 'please']],
  ])('%s, exit code %i: %s', async (code, exit, message, args) => {
    const { err, code: found } = await cli(expand(args));
    expect(err).toMatch(message);
    expect(err).toContain(`(${code})`);
    expect(err.trimEnd().split('\n')).toHaveLength(1);
    expect(found).toBe(exit);
  });
});

describe('data that is not quite right', () => {
  it.each(['import', 'learn', 'evaluate'])('%s says that the log is empty', async (command) => {
    const out = command === 'learn' ? ['--out', file('m')] : [];
    expect((await cli([command, '--data', file('empty.jsonl'), ...out])).err).toMatch(/empty\.jsonl: the log is empty \(NOT_ENOUGH_DATA\)/);
  });

  it('evaluate says how many folds there can be', async () => {
    writeFileSync(file('few.jsonl'), [0, 1, 2].map((n) => record(n)).join('\n'));
    expect((await cli(['evaluate', '--data', file('few.jsonl')])).err).toMatch(/only 3 groups .* at most 3 \(--folds\)/);
  });

  it('import lists malformed lines, writes nothing, or leaves them out when told to', async () => {
    const separator = '\u2028'; // which JSON allows within a string
    const good = [record(0), record(1, { user: `a${separator}b` })];
    const lines = [good[0], ...Array.from({ length: 25 }, () => '{'), good[1]];
    writeFileSync(file('broken.jsonl'), lines.join('\n'));
    const strict = await cli(['import', '--data', file('broken.jsonl'), '--out', file('clean.jsonl')]);
    expect(strict.code).toBe(1);
    expect(strict.err).toMatch(/^error: .*broken\.jsonl: 25 malformed lines\n {2}line 2: not JSON/);
    expect(strict.err).toMatch(/\n {2}line 21: .*\n {2}and 5 more \(BAD_DATA\)\n$/);
    expect(existsSync(file('clean.jsonl'))).toBe(false);
    expect(readdirSync(folder).some((name) => name.startsWith('.pointsman-') || name.endsWith('.tmp'))).toBe(false);

    const lenient = await cli(['import', '--data', file('broken.jsonl'), '--out', file('clean.jsonl'), '--skip-malformed']);
    expect(lenient.code).toBe(0);
    expect(lenient.out).toMatch(/25 malformed lines left out/);
    expect(readFileSync(file('clean.jsonl'), 'utf8').trimEnd().split('\n')).toHaveLength(2);
    const report = await cli(['import', '--data', file('broken.jsonl'), '--skip-malformed', '--json']);
    expect(JSON.parse(report.out)).toMatchObject({ records: 2, malformed: 25 });

    writeFileSync(file('hopeless.jsonl'), '{\n{');
    expect((await cli(['import', '--data', file('hopeless.jsonl'), '--skip-malformed'])).err).toMatch(
      /no line is in order.*\n.*\n.*\(NOT_ENOUGH_DATA\)/,
    );
  });

  it('import, learn and evaluate show the formats', async () => {
    for (const command of ['import', 'learn', 'evaluate']) {
      const { out } = await cli([command, '--help']);
      for (const word of ['docs/data.md', 'propensity', 'scores.csv', 'model,0,1']) expect(out).toContain(word);
    }
  });
});

describe('route', () => {
  it.each<[string, RegExp, string]>([
    ['BAD_DATA', /standard input, line 1: not JSON; accepted are a JSON array/, 'Write a poem'],
    ['BAD_CONVERSATION', /conversation 1: the conversation is empty/, '[[]]'],
    ['BAD_CONVERSATION', /conversation 1: the conversation is empty/, '""'],
    ['BAD_CONVERSATION', /conversation 2: the conversation is empty/, '["Hi", {"messages": []}]'],
    ['BAD_DATA', /empty list: there is nothing to route/, '[]'],
    ['BAD_CONVERSATION', /message 2 of conversation 1/, '[{"role":"user","content":"Hi"},{"role":"user"}]'],
  ])('%s %s: %s', async (code, message, stdin) => {
    const { err } = await cli(['route', '--model', file('model'), '--file', '-'], { stdin });
    expect(err).toMatch(message);
    expect(err).toContain(`(${code})`);
  });

  it('says whether the choice was an exploration', async () => {
    const how = async (seed: number) =>
      /chosen as +(.*)/.exec((await cli(['route', '--model', file('model'), 'Hi', '--explore', '0.6', '--seed', String(seed)])).out)?.[1];
    const found = (await Promise.all(Array.from({ length: 12 }, (_, seed) => how(seed)))).map((text) => text?.replace(/ \(.*/, ''));
    expect(new Set(found)).toEqual(new Set(['the best', 'tried at random among 3']));
    expect((await cli(['route', '--model', file('model'), ''])).err).toMatch(/the conversation is empty \(BAD_CONVERSATION\)/);
  });
});

describe('doctor', () => {
  afterEach(() => vi.restoreAllMocks());

  it('fails where no instruction set can run', async () => {
    const healthy = native.native().doctor();
    const ill = { ...healthy, isa: 'none', isaReason: 'POINTSMAN_ISA=mmx cannot run here' };
    vi.spyOn(native.native(), 'doctor').mockReturnValue(ill);
    const { code, out } = await cli(['doctor', '--json']);
    expect(code).toBe(1);
    expect(JSON.parse(out)).toMatchObject({ ok: false, addon: { loaded: true } });
    expect((await cli(['doctor'])).out).toMatch(/instruction set {2}none can run: POINTSMAN_ISA=mmx/);
  });

  it('says shortly that no plugin is there', () => {
    const cuda = native
      .native()
      .doctor()
      .backends.find(({ name }) => name === 'cuda');
    if (!cuda?.available) expect(cuda?.reason).not.toMatch(/cannot open shared object/);
  });
});
