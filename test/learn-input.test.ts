/** The doors of learning: what it takes, what it refuses, and where a model may go. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkFile, checkFolder, makeFolder } from '../src/learn/folder.js';
import { type LearnOptions, learn, readInteractions, readOutcomeMatrix, tableOf } from '../src/learn/index.js';
import type { Interaction, OutcomeTable } from '../src/types.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'pointsman-input-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const coded = (code: string) => expect.objectContaining({ name: 'PointsmanError', code });
const INTERACTIONS: Interaction[] = Array.from({ length: 60 }, (_, n) => ({
  conversation: [{ role: 'user', content: `${n % 2 ? 'Write a poem' : 'Fix my code'} ${n}` }],
  expert: n % 4 < 2 ? 'one' : 'two',
  retry: n % 3 === 0,
}));

describe('learn', () => {
  it.each([{ ranks: 5 }, { ranks: null }, { attributes: 'tier' }, { attributes: null }, { beliefs: 'no' }, { encoder: null }, { rank: 4 }])(
    'refuses the options %j',
    async (options) => {
      await expect(learn(INTERACTIONS, options as unknown as LearnOptions)).rejects.toEqual(coded('BAD_ARGUMENT'));
    },
  );

  it('takes interactions, anything that yields them, and their table alike', async () => {
    const version = (await learn(tableOf(INTERACTIONS))).version;
    expect((await learn(INTERACTIONS)).version).toBe(version);
    const generated = (function* () {
      yield* INTERACTIONS;
    })();
    expect((await learn(generated, { seed: 0 })).version).toBe(version);
  });

  it.each<[string, unknown, unknown?]>([
    ['BAD_ARGUMENT', undefined],
    ['BAD_ARGUMENT', null],
    ['BAD_ARGUMENT', 'log.jsonl'],
    ['BAD_ARGUMENT', {}],
    ['BAD_ARGUMENT', { conversations: [], experts: [], conversation: [], expert: [], metrics: {} }],
    ['BAD_ARGUMENT', INTERACTIONS, null],
    ['BAD_DATA', [null]],
    ['BAD_DATA', [{ conversation: INTERACTIONS[0]?.conversation, expert: 'one' }]],
    ['NOT_ENOUGH_DATA', []],
  ])('%s: %j', async (code, outcomes, options) => {
    await expect(learn(outcomes as OutcomeTable, options as LearnOptions)).rejects.toEqual(coded(code));
  });

  it('says that the log is empty, and counts from 1', async () => {
    await expect(learn([])).rejects.toThrow(/the log is empty/);
    expect(() => tableOf([INTERACTIONS[0] as Interaction, null as never])).toThrow(/^interaction 2:/);
    for (const wrong of [undefined, null, 'log', 7, {}]) expect(() => tableOf(wrong as never)).toThrow(coded('BAD_ARGUMENT'));
    await expect(readInteractions(undefined as never)).rejects.toEqual(coded('BAD_ARGUMENT'));
    await expect(readOutcomeMatrix(undefined as never)).rejects.toEqual(coded('BAD_ARGUMENT'));
  });

  it('reads past malformed lines where somebody listens', async () => {
    const path = join(folder, 'mixed.jsonl');
    writeFileSync(path, [JSON.stringify(INTERACTIONS[0]), '{', '', '[]', JSON.stringify(INTERACTIONS[1])].join('\n'));
    const seen: number[] = [];
    const table = await readInteractions(path, { onMalformed: (_, line) => seen.push(line) });
    expect(seen).toEqual([2, 4]);
    expect(table.conversation).toHaveLength(2);
    await expect(readInteractions(path)).rejects.toThrow(/line 2/);
  });
});

describe('where a result may go', () => {
  it('makes folders level by level, and gives up where none can be', async () => {
    const deep = join(folder, 'a', 'b', 'c');
    await makeFolder(deep);
    await makeFolder(deep);
    expect(existsSync(deep)).toBe(true);
    writeFileSync(join(folder, 'file'), '');
    await expect(makeFolder(join(folder, 'file'))).rejects.toMatchObject({ code: 'EEXIST' });
    await expect(makeFolder(join(folder, 'file', 'x'))).rejects.toMatchObject({ code: 'ENOTDIR' });
    if (process.platform === 'linux') await expect(makeFolder('/proc/pointsman/x')).rejects.toThrow();
  });

  it('is tried out beforehand, leaving nothing behind', async () => {
    const before = readdirSync(folder).length;
    await checkFolder(join(folder, 'new', 'model'));
    await checkFolder(folder);
    await checkFile(join(folder, 'new.index'));
    expect(readdirSync(folder)).toHaveLength(before);
    await expect(checkFolder(join(folder, 'file', 'x'))).rejects.toThrow(/input-.*file is a file/);
    await expect(checkFile(folder)).rejects.toEqual(coded('FILE_IO'));
    await expect(checkFile(join(folder, 'none', 'x'))).rejects.toThrow(/the folder .*none does not exist/);
    await expect(checkFile(join(folder, 'none', 'x'))).rejects.toEqual(coded('FILE_MISSING'));
    await expect(checkFile(join(folder, 'file', 'x'))).rejects.toEqual(coded('FILE_IO'));
    if (process.platform === 'linux') {
      await expect(checkFolder('/proc/pointsman')).rejects.toThrow(/in the folder \/proc/);
      await expect(checkFile('/dev/null')).rejects.toThrow(/device/);
    }
  });
});

describe('docs/data.md', () => {
  const page = readFileSync(join(dirname(fileURLToPath(import.meta.url)), '..', 'docs', 'data.md'), 'utf8');
  const block = (kind: string) => {
    const found = page.split('```').find((part) => part.startsWith(`${kind}\n`));
    return found?.slice(kind.length + 1) ?? expect.fail(`no example of ${kind}`);
  };

  it('shows a log that is one', async () => {
    writeFileSync(join(folder, 'documented.jsonl'), block('jsonl'));
    const table = await readInteractions(join(folder, 'documented.jsonl'));
    expect(table.experts).toEqual(['maple-7b', 'oak-70b']);
    expect(Object.keys(table.metrics).sort()).toEqual(['length', 'rating', 'retry', 'score']);
    expect(table.propensity?.[1]).toBeCloseTo(0.02);
    expect(table.group).toBeDefined();
  });

  it('shows a matrix that is one', async () => {
    writeFileSync(join(folder, 'prompts.jsonl'), block('jsonl prompts'));
    writeFileSync(join(folder, 'scores.csv'), block('csv scores'));
    const table = await readOutcomeMatrix(folder);
    expect(table.experts).toEqual(['maple-7b', 'oak-70b']);
    expect([...(table.metrics.score ?? [])]).toEqual([1, 0, 0.25, 1, 1]);
    expect(table.group?.[0]).toBe(table.group?.[1]);
    expect(table.split).toEqual(['train', 'train', 'test']);
    expect(table.conversations[2]?.[0]?.content).toBe('What is the weather in Oslo?\nweather The weather of a city');
  });

  it('names every field', () => {
    const fields = 'conversation expert retry rating length score propensity group user at prompt i split category functions';
    for (const field of fields.split(' ')) expect(page).toContain(`| \`${field}\` |`);
  });
});
