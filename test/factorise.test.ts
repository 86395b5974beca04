import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { rankingResult } from '../src/evaluate/index.js';
import {
  Factorisation,
  factorise,
  preferenceTable,
  readInteractionFile,
  readPreferences,
  writeInteractionFile,
} from '../src/learn/index.js';
import { Random } from '../src/random.js';
import { cli } from './terminal.js';

const folder = mkdtempSync(join(tmpdir(), 'pointsman-factors-'));
const file = (name: string) => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true }));

/** Synthetic: users of two tastes, each of whom has met half of the experts of their own. */
function tastes(users: number, seed = 1) {
  const random = new Random(seed);
  return Array.from({ length: users }, (_, u) =>
    Array.from({ length: 10 }, (_unused, e) => ({ user: `u${u}`, expert: `${u % 2 ? 'odd' : 'even'} ${e}` })).filter(
      () => random.uniform() < 0.5,
    ),
  ).flat();
}
const code = (wanted: string) => expect.objectContaining({ code: wanted });

describe('factorise', () => {
  it('finds what users like that they have not met, for new users, too', async () => {
    const model = await factorise(tastes(200), { factors: 2, seed: 3 });
    const index = await model.index();
    const best = async (vector: Float32Array) => (await index.search(vector, { k: 10 })).ids(0);
    for (const id of await best(model.userVector('u3') as Float32Array)) expect(id).toMatch(/^odd/);
    const folded = await model.foldIn([['even 1', 'even 2'], [{ expert: 'odd 1', weight: 2 }, 'nobody'], []]);
    for (const id of await best(folded.slice(0, 2))) expect(id).toMatch(/^even/);
    for (const id of await best(folded.slice(2, 4))) expect(id).toMatch(/^odd/);
    expect([...folded.slice(4)]).toEqual([0, 0]);
    expect(model.userVector('stranger')).toBeUndefined();
  });

  it('a history folded in is the vector of the user who has it', async () => {
    const data = tastes(50);
    const model = await factorise(data, { factors: 5 });
    const [vector] = [await model.foldIn([data.filter(({ user }) => user === 'u7').map(({ expert }) => expert)])];
    expect(vector).toEqual(model.userVector('u7'));
  });

  it('saves and opens; a torn folder is refused', async () => {
    const model = await factorise(tastes(50), { factors: 4 });
    await model.save(file('model'));
    await (await factorise(tastes(40, 2), { factors: 4 })).save(file('model')); // replaced, nothing of the first left
    expect(readdirSync(file('model'))).toHaveLength(6);
    await model.save(file('model'));
    const opened = await Factorisation.open(file('model'));
    expect(opened.arrays).toEqual(model.arrays);
    const vectors = readdirSync(file('model')).find((name) => name.startsWith('users') && name.endsWith('f32')) as string;
    truncateSync(join(file('model'), vectors), 100);
    await expect(Factorisation.open(file('model'))).rejects.toEqual(code('FILE_CORRUPT'));
    writeFileSync(join(file('model'), 'factors.json'), '{"format":"pointsman factors 9"}');
    await expect(Factorisation.open(file('model'))).rejects.toEqual(code('FILE_VERSION'));
    await expect(Factorisation.open(file('nowhere'))).rejects.toEqual(code('FILE_MISSING'));
  });

  it('an ensemble scores the mean of its members, folds in, saves and resumes', async () => {
    const data = tastes(50);
    const options = { factors: 3, ensemble: 2, seed: 5 };
    const model = await factorise(data, options);
    expect(model.factors).toBe(6);
    const members = await Promise.all([5, 5 + 2 ** 40].map((seed) => factorise(data, { factors: 3, seed })));
    const score = (each: Factorisation) => {
      const [x, y] = [each.userVector('u7'), each.expertVector('odd 2')] as [Float32Array, Float32Array];
      return x.reduce((sum, value, j) => sum + value * (y[j] as number), 0);
    };
    const [first, second] = members.map(score) as [number, number];
    expect(first).not.toBe(second);
    expect(score(model)).toBeCloseTo((first + second) / 2, 6);
    const history = data.filter(({ user }) => user === 'u7').map(({ expert }) => expert);
    expect(await model.foldIn([history])).toEqual(model.userVector('u7'));
    await model.save(file('ensemble'));
    expect((await Factorisation.open(file('ensemble'))).arrays).toEqual(model.arrays);
    const checkpoint = file('ensemble.checkpoint');
    await factorise(data, { ...options, sweeps: 3, checkpoint });
    rmSync(`${checkpoint}.1`); // as if it had been stopped before the second member's first sweep
    const resumed = await factorise(data, { ...options, checkpoint, resume: true });
    expect(resumed.sweeps).toBe(5 + 8);
    expect(resumed.arrays).toEqual(model.arrays);
  });

  it('refuses a member before any is fitted, and names it', async () => {
    const stages: string[] = [];
    const options = { ensemble: [{}, { penalty: -1 }], onProgress: ({ stage }: { stage: string }) => stages.push(stage) };
    await expect(factorise(tastes(20), options)).rejects.toThrow('penalty of member 1 must be from 1e-9 to 1000000000, not -1');
    expect(stages).toEqual([]);
  });

  it('a run from the beginning is not resumed from an earlier one', async () => {
    const data = tastes(50);
    const checkpoint = file('earlier.checkpoint');
    await factorise(data, { factors: 3, ensemble: 2, checkpoint });
    const stop = new AbortController();
    const onProgress = ({ stage }: { stage: string }) => stage.endsWith('1 of 2') && stop.abort();
    const changed = { factors: 3, ensemble: 2, penalty: 0.5, checkpoint };
    await expect(factorise(data, { ...changed, sweeps: 500, signal: stop.signal, onProgress })).rejects.toEqual(code('ABORTED'));
    expect(readdirSync(folder)).not.toContain('earlier.checkpoint.1');
  });

  it('ends with what a progress listener throws', async () => {
    const onProgress = () => {
      throw new Error('no more');
    };
    await expect(factorise(tastes(50), { onProgress })).rejects.toThrow('no more');
  });

  it('saves to one folder take turns', async () => {
    const models = await Promise.all([3, 4, 5].map((factors) => factorise(tastes(40), { factors, sweeps: 1 })));
    await (models[0] as Factorisation).save(file('shared'));
    await Promise.all(models.flatMap((model) => [model.save(file('shared')), model.save(file('shared'))]));
    expect((await Factorisation.open(file('shared'))).factors).toBe(5);
    expect(readdirSync(file('shared'))).toHaveLength(6);
  });

  it('an ensemble of unlike models weighs their scores by weight·(1 + α)', async () => {
    const data = tastes(50);
    const other = { factors: 5, unobserved: 1, exponent: 0, penalty: 2 };
    const options = { factors: 3, seed: 5, ensemble: [{}, { ...other, weight: 3 }] };
    const model = await factorise(data, options);
    expect(model.factors).toBe(8);
    const alone = await Promise.all([
      factorise(data, { factors: 3, seed: 5 }),
      factorise(data, { ...other, factors: 5, seed: 5 + 2 ** 40 }),
    ]);
    const score = (each: Factorisation) => {
      const [x, y] = [each.userVector('u7'), each.expertVector('odd 2')] as [Float32Array, Float32Array];
      return x.reduce((sum, value, j) => sum + value * (y[j] as number), 0);
    };
    const [first, second] = alone.map(score) as [number, number];
    expect(score(model)).toBeCloseTo((1.1 * first + 3 * 2 * second) / (1.1 + 3 * 2), 6);
    const history = data.filter(({ user }) => user === 'u7').map(({ expert }) => expert);
    expect(await model.foldIn([history])).toEqual(model.userVector('u7'));
    await model.save(file('unlike'));
    expect((await Factorisation.open(file('unlike'))).arrays).toEqual(model.arrays);
  });

  it('an interaction file gives the same bits as memory; a run is resumed from its checkpoint', async () => {
    const log = tastes(60).map(({ user, expert }) =>
      JSON.stringify({ conversation: [{ role: 'user', content: 'Hi' }], user, expert, retry: false }),
    );
    writeFileSync(file('log.jsonl'), log.join('\n'));
    const counts = await writeInteractionFile(file('log.jsonl'), file('log.interactions'), { memory: 1000 });
    expect(counts).toMatchObject({ users: 60, experts: 20, interactions: log.length, weighted: false });
    // Several at once do not mix.
    writeFileSync(file('few.txt'), '0 1 2\n1 2');
    const both = ['few.txt', 'log.jsonl', 'few.txt'].map((source) => writeInteractionFile(file(source), file('both.interactions')));
    expect((await Promise.all(both)).map(({ interactions }) => interactions)).toEqual([3, log.length, 3]);
    expect([3, log.length]).toContain((await readInteractionFile(file('both.interactions'))).interactions);
    await expect(writeInteractionFile(file('few.txt'), file('few.txt'))).rejects.toEqual(code('BAD_ARGUMENT'));
    await expect(writeInteractionFile(file('few.txt'), '/dev/null')).rejects.toEqual(code('FILE_IO'));
    await expect(writeInteractionFile(file('few.txt'), 'a\0b')).rejects.toEqual(code('BAD_ARGUMENT'));
    expect((await readInteractionFile(file('log.interactions'))).userNames).toHaveLength(60);
    const whole = await factorise(await readPreferences(file('log.jsonl')), { factors: 4, sweeps: 4 });
    const checkpoint = file('run.checkpoint');
    await factorise(file('log.interactions'), { factors: 4, sweeps: 2, checkpoint });
    const resumed = await factorise(file('log.interactions'), { factors: 4, sweeps: 4, checkpoint, resume: true });
    expect(resumed.sweeps).toBe(2);
    expect(resumed.arrays).toEqual(whole.arrays);
    await expect(factorise(tastes(60), { factors: 4, sweeps: 4, checkpoint, resume: true })).rejects.toEqual(code('BAD_ARGUMENT'));
    truncateSync(checkpoint, 4100);
    await expect(factorise(file('log.interactions'), { factors: 4, checkpoint, resume: true })).rejects.toEqual(code('FILE_CORRUPT'));
    truncateSync(file('log.interactions'), 5000);
    await expect(factorise(file('log.interactions'))).rejects.toEqual(code('FILE_CORRUPT'));
  });

  it.each<[object, string]>([
    [{ factors: 0 }, 'BAD_ARGUMENT'],
    [{ factors: 2000 }, 'BAD_ARGUMENT'],
    [{ penalty: Number.NaN }, 'BAD_ARGUMENT'],
    [{ penalty: 0 }, 'BAD_ARGUMENT'],
    [{ resume: true }, 'BAD_ARGUMENT'],
    [{ ensemble: 0 }, 'BAD_ARGUMENT'],
    [{ ensemble: 17 }, 'BAD_ARGUMENT'],
    [{ ensemble: 1.5 }, 'BAD_ARGUMENT'],
    [{ ensemble: 2, seed: 2 ** 40 }, 'BAD_ARGUMENT'],
    [{ ensemble: [] }, 'BAD_ARGUMENT'],
    [{ ensemble: [5] }, 'BAD_ARGUMENT'],
    [{ ensemble: 'two' }, 'BAD_ARGUMENT'],
    [{ ensemble: [{ sweeps: 3 }] }, 'BAD_ARGUMENT'],
    [{ ensemble: [{}, { weight: 0 }] }, 'BAD_ARGUMENT'],
    [{ ensemble: [{}, { weight: 5e-324 }] }, 'BAD_ARGUMENT'],
    [{ ensemble: new Array(2) }, 'BAD_ARGUMENT'],
    [{ ensemble: Array.from({ length: 5 }, () => ({ factors: 1024 })) }, 'BAD_ARGUMENT'],
    [{ signal: 5 }, 'BAD_ARGUMENT'],
    [{ onProgress: 5 }, 'BAD_ARGUMENT'],
    [{ checkpoint: '/dev/null' }, 'FILE_IO'],
    [{ checkpoint: folder }, 'FILE_IO'],
    [{ ensemble: [{}, { factors: 2000 }] }, 'BAD_ARGUMENT'],
    [{ ensemble: [{}, { penalty: Number.NaN }] }, 'BAD_ARGUMENT'],
    [{ facors: 3 }, 'BAD_ARGUMENT'],
    [{ checkpoint: file('no/such/folder') }, 'FILE_MISSING'],
    [{ signal: AbortSignal.abort() }, 'ABORTED'],
  ])('refuses %j', async (options, wanted) => {
    await expect(factorise(tastes(20), options)).rejects.toEqual(code(wanted));
  });

  it('refuses what is no preference, past the wall of types, too', async () => {
    await expect(factorise([])).rejects.toEqual(code('NOT_ENOUGH_DATA'));
    await expect(factorise([{ user: 'a' } as never])).rejects.toEqual(code('BAD_DATA'));
    await expect(factorise([{ user: 'a', expert: 'b', weight: Number.NaN }])).rejects.toEqual(code('BAD_DATA'));
    await expect(factorise(5 as never)).rejects.toEqual(code('BAD_ARGUMENT'));
    const table = preferenceTable(tastes(5));
    await expect(factorise({ ...table, expert: table.expert.map(() => 999) })).rejects.toEqual(code('WRONG_SHAPE'));
    await expect(factorise({ ...table, users: undefined as never })).rejects.toEqual(code('BAD_ARGUMENT'));
    await expect(factorise({ ...table, users: new Array(table.users.length) })).rejects.toEqual(code('BAD_ARGUMENT'));
    await expect(factorise({ ...table, experts: table.experts.map(() => 'one') })).rejects.toEqual(code('BAD_ARGUMENT'));
    await expect(factorise({ ...table, user: table.user.slice(1) })).rejects.toEqual(code('WRONG_SHAPE'));
    await expect(factorise({ ...table, weight: table.user as never })).rejects.toEqual(code('BAD_ARGUMENT'));
    await expect(factorise(file('none.interactions'))).rejects.toEqual(code('FILE_IO'));
    const model = await factorise(table, { factors: 2 });
    await expect(model.foldIn([[{ expert: 'odd 1', weight: -1 }]])).rejects.toEqual(code('BAD_ARGUMENT'));
    await expect(model.foldIn(['odd 1'] as never)).rejects.toEqual(code('BAD_ARGUMENT'));
    await expect(model.foldIn(new Array(2))).rejects.toEqual(code('BAD_ARGUMENT'));
    await expect(model.foldIn([[{ expert: 'odd 1', weight: '2' as never }]])).rejects.toEqual(code('BAD_ARGUMENT'));
  });
});

describe('ranking', () => {
  it('hit rate and NDCG by their formulas; ties count against', () => {
    const cases = [0, 1].map((user) => ({ user, items: Uint32Array.from([0, 1, 2]) }));
    const score = (user: number) => (user === 0 ? [3, 2, 1] : [2, 2, 1]);
    const { hitRate, ndcg } = rankingResult(cases, [score], { cutoff: 2, replicates: 50 });
    expect(hitRate.mean).toBe(1);
    expect(ndcg.mean).toBeCloseTo((1 + 1 / Math.log2(3)) / 2);
    expect(rankingResult(cases, [score], { cutoff: 1 }).hitRate.mean).toBe(0.5);
    const weighted = cases.map((each, n) => ({ ...each, weight: n === 0 ? 3 : 1 }));
    expect(rankingResult(weighted, [score], { cutoff: 1 }).hitRate.mean).toBe(0.75);
    expect(() => rankingResult([{ user: 0, items: Uint32Array.of(0), weight: 0 }], [score])).toThrow(code('BAD_ARGUMENT'));
    expect(() => rankingResult(cases, [() => [1, Number.NaN, 0]])).toThrow(code('NOT_FINITE'));
    expect(() => rankingResult(cases, [() => [1]])).toThrow(code('NOT_FINITE'));
    expect(() => rankingResult([], [score])).toThrow(code('NOT_ENOUGH_DATA'));
  });
});

describe('the command line', () => {
  it('factorises numbers, by way of a file, and evaluates', async () => {
    const random = new Random(4);
    const users = Array.from({ length: 60 }, (_, u) => random.shuffle(Array.from({ length: 12 }, (_unused, i) => 2 * i + (u % 2))));
    writeFileSync(file('train.txt'), users.map((items, u) => [u, ...items.slice(0, 6)].join(' ')).join('\n'));
    writeFileSync(
      file('test.txt'),
      users.map((items, u) => [u, items[6], ...Array.from({ length: 12 }, (_, i) => 2 * i + ((u + 1) % 2))].join(' ')).join('\n'),
    );
    const evaluated = await cli([
      'evaluate',
      '--data',
      folder,
      '--protocol',
      'leave-one-out',
      '--factors',
      '2',
      '--penalty',
      '0.01,0.1',
      '--seeds',
      '2',
      '--json',
    ]);
    expect(evaluated.code).toBe(0);
    expect(evaluated.json().validation).toHaveLength(2);
    expect(evaluated.json().factors.ndcg.mean).toBeGreaterThan(0.9);
    expect(evaluated.json().factors.ndcg.mean).toBeGreaterThan(evaluated.json().popularity.ndcg.mean + 0.2);
    expect((await cli(['factorise', '--data', file('train.txt'), '--to-file', file('t.interactions'), '--json'])).json()).toMatchObject({
      interactions: 360,
    });
    const run = [
      'factorise',
      '--data',
      file('t.interactions'),
      '--out',
      file('cli-model'),
      '--factors',
      '2',
      '--checkpoint',
      file('cli.checkpoint'),
    ];
    expect((await cli([...run, '--json'])).json()).toMatchObject({ users: 60, sweeps: 8 });
    expect((await cli([...run, '--sweeps', '9', '--resume'])).out).toMatch(/1 sweep in/);
    const member = ['--member', 'factors=3 unobserved=1'];
    const members = (await cli([...run, ...member, '--json'])).json().members;
    expect(members).toMatchObject([{ factors: 2 }, { factors: 3, unobserved: 1 }]);
    expect((await cli([...run, '--member', 'penalty=1,2'])).err).toMatch(/one value/);
    expect((await cli([...run, '--member', 'sweeps=1'])).code).toBe(2);
    expect((await cli([...run, '--member', 'factors=3', '--ensemble', '4294967296'])).err).toMatch(/from 1 to 16.*BAD_ARGUMENT/);
    expect((await cli([...run, '--member', 'penalty=1 penalty=2'])).code).toBe(2);
    const compare = ['evaluate', '--data', folder, '--protocol', 'leave-one-out', '--factors', '2', '--seeds', '1'];
    const compared = await cli([...compare, '--member', 'factors=3 penalty=1,2 weight=1,3', '--json']);
    expect(compared.json().validation).toHaveLength(4);
    expect(compared.json().members).toHaveLength(2);
    expect((await cli([...compare, '--member', 'factors=3', '--ensemble', '-1'])).err).toMatch(/BAD_ARGUMENT/);
    expect((await cli([...compare, '--ensemble', '1,'])).code).toBe(2);
    const many = Array.from({ length: 40 }, (_, i) => i + 1).join();
    expect((await cli([...compare, '--member', `factors=${many} penalty=${many}`])).err).toMatch(/more than 1000 models/);
    writeFileSync(file('train.txt'), '300000000 5');
    expect((await cli(compare)).err).toMatch(/train.txt, line 1: expected numbers below/);
    expect((await cli(['factorise', '--data', file('train.txt')])).code).toBe(2);
    expect((await cli(['factorise', '--help'])).out).toContain('Example:');
  });

  it('turns transcripts into a log, and finds an objective', async () => {
    const line = {
      ended: true,
      messages: [
        { role: 'user', content: 'Hi' },
        { role: 'assistant', content: 'Hello', expert: 'a', rating: 4 },
      ],
    };
    writeFileSync(file('transcripts.jsonl'), JSON.stringify(line));
    const imported = await cli(['import', '--data', file('transcripts.jsonl'), '--transcripts', '--out', file('from.jsonl'), '--json']);
    expect(imported.json()).toMatchObject({ transcripts: 1, records: 1 });
    expect(JSON.parse(readFileSync(file('from.jsonl'), 'utf8'))).toEqual({
      conversation: [{ role: 'user', content: 'Hi' }],
      expert: 'a',
      retry: false,
      rating: 4,
      length: 0,
    });
    const cohort = Array.from({ length: 400 }, (_, u) =>
      JSON.stringify({ user: `u${u}`, metrics: { retry: (u % 10) / 10, rating: 1 + (u % 7) / 2 }, outcome: Number(u % 10 < 3 + (u % 3)) }),
    );
    writeFileSync(file('cohort.jsonl'), cohort.join('\n'));
    const found = (await cli(['objective', '--data', file('cohort.jsonl'), '--replicates', '50', '--json'])).json();
    expect(found.certain.retry).toBeLessThan(0);
    expect(found.certain.rating).toBeUndefined();
    expect((await cli(['objective', '--data', file('cohort.jsonl'), '--replicates', '50'])).out).toMatch(/--objective retry=-/);
    writeFileSync(file('cohort.jsonl'), '{"user"');
    expect((await cli(['objective', '--data', file('cohort.jsonl')])).err).toMatch(/line 1: not JSON.*BAD_DATA/);
  });
});
