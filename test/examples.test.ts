/** The examples run, and what the sample teaches is held against the truth that it was made from. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

interface Expert {
  name: string;
}
interface Sample {
  EXPERTS: number;
  community(seed: number): { experts: Expert[] };
  quality(expert: Expert, topic: string, language: string): number;
  expected: { retry(q: number): number; rating(q: number): number; length(q: number): number };
  generator(seed: number): object;
  kind(random: object): { topic: string; language: string };
  converse(topic: string, language: string, random: object): { role: string; content: string }[];
  log(): Iterable<object>;
}

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const sampleFile = join(root, 'examples', 'data', 'community.jsonl.gz');
const run = promisify(execFile);
const node = (...args: string[]) => run(process.execPath, args, { cwd: root });
const loadSample = async () => (await import(/* @vite-ignore */ join(root, 'scripts', 'sample.mjs'))) as Sample;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'pointsman-examples-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('the sample', () => {
  it('is what its generator makes, small, and of 1,211 experts', async () => {
    const sample = await loadSample();
    const bundled = gunzipSync(readFileSync(sampleFile)).toString().trimEnd().split('\n');
    const made = [...sample.log()].map((record) => JSON.stringify(record));
    expect(bundled).toEqual(made);
    expect(new Set(bundled.map((line) => JSON.parse(line).expert)).size).toBe(sample.EXPERTS);
    expect(statSync(sampleFile).size).toBeLessThan(1_000_000);
  });
});

describe('examples', () => {
  it('learn from a log, then route conversations', async () => {
    const model = join(folder, 'model');
    const learned = await node('examples/learn-own-log.mjs', sampleFile, model);
    expect(learned.stdout).toMatch(/14000 outcomes of 1211 experts\nlearned retry, rating, length in \d+ dimensions/);
    const routed = await node('examples/route-a-conversation.mjs', model);
    expect(routed.stdout).toMatch(/ should answer \(score .*\n(.*retry 0\.\d\d, rating \d\.\d\d\n){5}without it: /);
  }, 600_000);

  it('go on learning from a log, with new versions, and explore', async () => {
    const part = join(folder, 'part.jsonl');
    writeFileSync(part, gunzipSync(readFileSync(sampleFile)).toString().split('\n').slice(-1500).join('\n'));
    const { stdout } = await node('examples/go-on-learning.mjs', part);
    const versions = [...stdout.matchAll(/^version (\w+): from (\d+) values, then (\d+) more$/gm)];
    expect(versions).toHaveLength(3);
    for (const [n, [, , outcomes, updates]] of versions.slice(0, -1).entries()) {
      expect(Number(updates)).toBeGreaterThanOrEqual(0.5 * Number(outcomes));
      expect(Number(versions[n + 1]?.[2])).toBe(Number(outcomes) + Number(updates)); // nothing is lost between versions
    }
    const propensities = [...stdout.matchAll(/^\S+: -?\d\.\d\d ± \d\.\d\d, propensity (\d\.\d{3})$/gm)].map(([, p]) => Number(p));
    expect(propensities).toHaveLength(5);
    expect(propensities.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 2);
    expect(stdout).toMatch(new RegExp(`answers; by version ${versions.at(-1)?.[1]}\n$`));
  }, 300_000);

  it('the whole way from a judge to a decision that is explained in named dimensions', async () => {
    const scored = join(folder, 'judged');
    mkdirSync(scored);
    const { stdout } = await node('examples/judge-and-route.mjs', scored);
    // The bill comes first, and is what was asked.
    const [, bill, asked, again] = /^to be asked: (\d+) calls, .*\nasked: (\d+) calls; a rerun would ask (\d+)\n/.exec(stdout) ?? [];
    expect([bill, asked, again]).toEqual(['12', '12', '0']);
    const { readScoreTable } = await import('../src/index.js');
    const { dimensions, experts, scores } = await readScoreTable(join(scored, 'scores.csv'));
    expect(dimensions).toEqual(['descriptive', 'creative/fun', 'informative/factual']);
    expect(experts).toEqual(['painter-7b', 'bard-13b', 'archive-70b']);
    for (const [e, expert] of experts.entries()) {
      const row = [...scores.subarray(3 * e, 3 * e + 3)];
      expect(row.indexOf(Math.max(...row))).toBe(e); // each is best at its own
      expect(stdout).toContain(`${expert}: ${dimensions.map((name, d) => `${name} ${row[d]?.toFixed(2)}`).join(', ')}`);
    }
    const decisions = [...stdout.matchAll(/^(\w.*[.?])\n {2}(\S+) \((\d\.\d\d)\), because (.*)\n/gm)];
    expect(decisions.map(([, question, expert]) => [question, expert])).toEqual([
      ['Write a fun story about a cat.', 'bard-13b'],
      ['Describe the harbour in the evening.', 'painter-7b'],
      ['How many people live in Japan?', 'archive-70b'],
    ]);
    for (const [n, [, , expert, score, because]] of decisions.entries()) {
      const terms = [...(because as string).matchAll(/(\S+) (\d\.\d\d) × (\d\.\d\d)/g)];
      expect(terms.map(([, name]) => name)).toEqual(dimensions);
      const [own, projection] = [terms.map((term) => Number(term[2])), terms.map((term) => Number(term[3]))];
      const place = 3 * experts.indexOf(expert as string);
      expect(own).toEqual([...scores.subarray(place, place + 3)].map((value) => Number(value.toFixed(2))));
      expect(own.reduce((sum, value, d) => sum + value * (projection[d] as number), 0)).toBeCloseTo(Number(score), 1);
      expect(projection.indexOf(Math.max(...projection))).toBe([1, 0, 2][n]); // what is asked for
    }
  });

  it('routing what the sample taught beats the best single expert in truth', async () => {
    const { Router } = await import('../src/index.js');
    const sample = await loadSample();
    const { experts } = sample.community(1);
    const router = await Router.open(join(folder, 'model'));
    const random = sample.generator(2026); // conversations that the log has not
    const kinds = Array.from({ length: 2000 }, () => sample.kind(random));
    const conversations = kinds.map(({ topic, language }) => sample.converse(topic, language, random));
    const decisions = await router.route(conversations, { k: 1 });
    const numberOf = new Map(experts.map(({ name }, e) => [name, e]));
    const truth = (of: (n: number) => Expert) =>
      kinds.reduce((sum, { topic, language }, n) => sum + sample.expected.retry(sample.quality(of(n), topic, language)), 0) / kinds.length;
    const routed = truth((n) => experts[numberOf.get(decisions[n]?.expert as string) as number] as Expert);
    const hindsight = Math.min(...experts.map((expert) => truth(() => expert)));
    expect(routed).toBeLessThan(hindsight); // better than the one expert that nobody could have known to be the best
  });

  it('search an index', async () => {
    const temporary = join(folder, 'temporary');
    mkdirSync(temporary);
    const { stdout } = await run(process.execPath, ['examples/index-search.mjs'], {
      cwd: root,
      env: { ...process.env, TMPDIR: temporary },
    });
    expect(readdirSync(temporary)).toEqual([]);
    expect(stdout).toMatch(/^query 0: east, north\nquery 1: south, west\nwithout east: north\nsaved and opened: 4 vectors on \w+\n$/);
  });
});

describe('the demo', () => {
  it('learns from a file of your own, routes a conversation and says why', async () => {
    const data = join(folder, 'own.jsonl');
    writeFileSync(data, gunzipSync(readFileSync(sampleFile)).toString().split('\n').slice(-2000).join('\n'));
    const { stdout } = await node('scripts/demo.mjs', 'Hi! How was your day?', '--', '--data', data, '--model', join(folder, 'demo-model'));
    expect(stdout).toMatch(/\$ pointsman learn --data .*own\.jsonl/);
    expect(stdout).toMatch(/expert {8}\S+\nexpected {6}\d+% retried, \d\.\d\d stars, \d+\.\d messages after it/);
    expect(stdout).toMatch(/why \S+ scores \+/);
  }, 120_000);
});
