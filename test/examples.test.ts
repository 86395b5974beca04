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

  it('route by scores in named dimensions, and say why', async () => {
    const { stdout } = await node('examples/route-by-scores.mjs');
    expect(stdout).toMatch(/fun story about a cat\.\n {2}bard-13b, because .*creative 0\.8 × 0\.\d\d/);
    expect(stdout).toMatch(/Describe the harbour and the bridge\.\n {2}painter-7b, because descriptive 0\.9 ×/);
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
