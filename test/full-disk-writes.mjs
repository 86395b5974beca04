// Writes everything that pointsman writes, once small and then larger than there is room for; run by full-disk.test.ts.
// node test/full-disk-writes.mjs FOLDER disk|limit INPUTS: prints a line of JSON for each kind of file.
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync, rmSync, truncateSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const dist = join(dirname(fileURLToPath(import.meta.url)), '..', 'dist');
const { ExpertIndex, factorise, Factorisation, LearnedModel, learn, OnlineLearner, readScoreTable, writeInteractionFile, writeScoreTable } =
  await import(join(dist, 'index.js'));
const { Answers } = await import(join(dist, 'remote', 'answers.js'));
const { readInteractionFile } = await import(join(dist, 'learn', 'index.js'));

/** What is left of the disk; a file may not be larger where a limit takes its place. */
const ROOM = 64 << 10;
const [folder, how, inputs] = process.argv.slice(2);
const [fewLines, manyLines] = ['few.jsonl', 'many.jsonl'].map((name) => join(inputs, name));
const at = (name) => join(folder, name);

const vectors = (count, d) => Float32Array.from({ length: count * d }, (_, i) => Math.sin(i));
const indexOf = async (count) => {
  const index = new ExpertIndex({ dimensions: 64 });
  await index.upsert(
    Array.from({ length: count }, (_, i) => `expert ${i}`),
    vectors(count, 64),
  );
  return index;
};
const lines = (path) =>
  readFileSync(path, 'utf8')
    .split('\n')
    .map((line) => JSON.parse(line));
const few = await learn(lines(fewLines));
const many = await learn(lines(manyLines).slice(0, 1200));
const tastes = (experts) => Array.from({ length: 4 * experts }, (_, i) => ({ user: `u${i % 40}`, expert: `e${(i * 13) % experts}` }));
const small = { factors: 4, seed: 1 };
const table = (experts) => ({
  dimensions: ['x', 'y'],
  experts: Array.from({ length: experts }, (_, e) => `expert ${e}`),
  scores: vectors(experts, 2),
});
const cli = async (...args) => {
  const { status, stderr } = spawnSync(process.execPath, [join(dist, 'cli', 'main.js'), ...args], { encoding: 'utf8' });
  if (status !== 0) throw Object.assign(new Error(stderr), { code: /\((\w+)\)\s*$/.exec(stderr)?.[1] });
};
const answer = async (key, value) => {
  const answers = await Answers.open(at('judge.cache'));
  const found = [];
  try {
    await answers.ask([key], async () => [value], { onAnswer: (_, each) => found.push(each) });
    return { value: found[0], size: answers.size };
  } finally {
    await answers.close();
  }
};

let written; // counts of the small interaction file

/** By kind: write small, write large, and whether the small one is still whole. */
const KINDS = {
  snapshot: {
    small: async () => (await indexOf(10)).save(at('experts.index')),
    large: async () => (await indexOf(2000)).save(at('experts.index')),
    whole: async () => (await ExpertIndex.open(at('experts.index'))).size === 10,
  },
  model: {
    small: () => few.save(at('model')),
    large: () => many.save(at('model')),
    whole: async () => (await LearnedModel.open(at('model'))).version === few.version,
  },
  beliefs: {
    small: async () => (await OnlineLearner.start(few)).save(at('state')),
    large: async () => {
      const learner = await OnlineLearner.start(few);
      for (let e = learner.size; e < 2500; e++) await learner.add(`expert number ${e}`);
      await learner.save(at('state'));
    },
    whole: async () => (await OnlineLearner.open(at('state'), few)).size === few.parameters.chosen.experts,
  },
  checkpoint: {
    small: () => factorise(tastes(20), { ...small, sweeps: 2, checkpoint: at('run.checkpoint') }),
    large: () => factorise(tastes(3000), { ...small, factors: 16, sweeps: 1, checkpoint: at('run.checkpoint') }),
    whole: async () => (await factorise(tastes(20), { ...small, sweeps: 3, checkpoint: at('run.checkpoint'), resume: true })).sweeps === 1,
  },
  factors: {
    small: async () => (await factorise(tastes(20), { ...small, sweeps: 1 })).save(at('factors')),
    large: async () => (await factorise(tastes(3000), { ...small, factors: 16, sweeps: 1 })).save(at('factors')),
    whole: async () => (await Factorisation.open(at('factors'))).factors === 4,
  },
  interactions: {
    small: async () => {
      written = await writeInteractionFile(fewLines, at('log.interactions'));
    },
    large: () => writeInteractionFile(manyLines, at('log.interactions')),
    whole: async () => (await readInteractionFile(at('log.interactions'))).userNames.length === written.users,
  },
  'score table': {
    small: () => writeScoreTable(at('scores.csv'), table(3)),
    large: () => writeScoreTable(at('scores.csv'), table(4000)),
    whole: async () => (await readScoreTable(at('scores.csv'))).experts.length === 3,
  },
  'imported log': {
    small: () => cli('import', '--data', fewLines, '--out', at('log.jsonl')),
    large: () => cli('import', '--data', manyLines, '--out', at('log.jsonl')),
    whole: async () => readFileSync(at('log.jsonl'), 'utf8').trim().split('\n').length === 40,
  },
  'judge cache': {
    small: () => answer('k'.repeat(43), 'an answer that was paid for'),
    large: () => answer('l'.repeat(43), 'x'.repeat(4 * ROOM)),
    whole: async () => (await answer('k'.repeat(43), 'another')).value === 'an answer that was paid for',
  },
};

/** A file that leaves as much room as there may be. */
function fill() {
  const file = openSync(at('ballast'), 'w');
  const piece = Buffer.alloc(4096, 1);
  let bytes = 0;
  try {
    for (;;) bytes += writeSync(file, piece);
  } catch (error) {
    if (error.code !== 'ENOSPC') throw error;
  }
  closeSync(file);
  truncateSync(at('ballast'), bytes - ROOM);
}

const files = () => readdirSync(folder, { recursive: true }).sort();
for (const { small: write } of Object.values(KINDS)) await write();
if (how === 'disk') fill();
for (const [kind, { large, whole }] of Object.entries(KINDS)) {
  const before = files();
  const failure = await large().then(
    () => undefined,
    (error) => error,
  );
  const left = files().filter((name) => !before.includes(name));
  const report = { kind, code: failure?.code, message: failure?.message, left, whole: await whole().catch((error) => error.message) };
  if (how === 'disk') {
    rmSync(at('ballast'));
    report.again = await large().then(
      () => true,
      (error) => error.message,
    );
    // Small again, and the disk as full as it was.
    if (kind !== 'judge cache') await KINDS[kind].small();
    fill();
  }
  console.log(JSON.stringify(report));
}
