// Factorisation for implicit feedback: the time of the same sweeps here and in numpy, interleaved; or, with --scale, how it
// grows with synthetic data that is read from disk.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { ExpertIndex, factorise, readPreferences } from '../dist/index.js';
import { scaleMain } from './factorise-scale.mjs';
import { measureLimits } from './limits.mjs';
import { provenance, short, summary, table, writeJson } from './report.mjs';

const HELP = `npm run bench -- factorise [options]

  --data FILE      a line a user: user item item … (such as train.txt of ncf_ml1m)
  --factors N      (64)
  --sweeps N       (10), and half a sweep more for the users
  --rounds N       interleaved rounds, of which the medians are told (5)
  --threads N      of both (all)
  --python PATH    a python with numpy: the peer (/usr/bin/python3, Debian's with python3-numpy); 'none' for none
  --json FILE      where the report goes (bench/results/local/factorise.json)
  --scale N        synthetic instead: N interactions of N / 100 experts and N / 50 users, from disk; --sweeps, --factors as above,
                   --folder for the files, which stay, so that a run that was stopped goes on from its checkpoint

Examples: npm run bench -- factorise --data ../shared/data/ncf_ml1m/train.txt
          npm run bench -- factorise --scale 1000000 --sweeps 2`;

const MODEL = { unobserved: 0.1, penalty: 0.01, exponent: 1, seed: 0 };

export async function main(args) {
  const { values } = parseArgs({
    args,
    options: {
      data: { type: 'string' },
      factors: { type: 'string', default: '64' },
      sweeps: { type: 'string', default: '10' },
      rounds: { type: 'string', default: '5' },
      threads: { type: 'string' },
      python: { type: 'string', default: '/usr/bin/python3' },
      json: { type: 'string' },
      scale: { type: 'string' },
      folder: { type: 'string' },
      help: { type: 'boolean' },
    },
  });
  if (values.help) return console.log(HELP);
  if (values.scale) return scaleMain(values);
  if (!values.data) throw new Error('--data is needed: a line a user, user item item …');
  const facts = provenance();
  const [factors, sweeps, rounds, threads] = [values.factors, values.sweeps, values.rounds, values.threads ?? facts.cores].map(Number);
  const preferences = await readPreferences(values.data);
  const { isa } = new ExpertIndex({ dimensions: 1 }).stats();
  const limits = measureLimits({ threads, isa });
  const ours = { name: 'pointsman', setting: `float32, Cholesky, ${threads} threads`, seconds: [] };
  const list = [ours];
  const folder = mkdtempSync(join(tmpdir(), 'pointsman-bench-'));
  try {
    // The peer starts from other vectors of the same law: the work is the same, and so is, nearly, what it ends at.
    const first = startingVectors(preferences.experts.length * factors, 0.1 / Math.sqrt(factors));
    writeFileSync(join(folder, 'first'), first);
    writeFileSync(join(folder, 'user'), preferences.user);
    writeFileSync(join(folder, 'item'), preferences.expert);
    const setup = {
      users: preferences.users.length,
      items: preferences.experts.length,
      user: join(folder, 'user'),
      item: join(folder, 'item'),
      first: join(folder, 'first'),
      factors,
      ...MODEL,
    };
    if (values.python !== 'none') {
      // Threads of BLAS do not always pay on matrices this small: with one, too.
      for (const each of new Set([threads, 1])) {
        const peer = await numpy(values.python, setup, each);
        if (peer) list.push(peer);
      }
    }
    let model;
    for (let round = 0; round <= rounds; round++) {
      const some = round === 0 ? 1 : sweeps; // to warm up
      for (const contender of list) {
        let seconds;
        if (contender === ours) {
          const start = performance.now();
          model = await factorise(preferences, { factors, sweeps: some, threads, ...MODEL });
          seconds = (performance.now() - start) / 1000;
        } else {
          seconds = (await contender.ask({ sweeps: some })).seconds;
        }
        if (round > 0) contender.seconds.push(seconds);
        console.error(`round ${round} of ${rounds}: ${contender.name} ${seconds.toFixed(2)} s`);
      }
    }
    const loss = (vectors) => fitOf(preferences, vectors, factors);
    ours.fit = loss(model.arrays.userVectors);
    for (const peer of list.slice(1)) {
      await peer.ask({ save: join(folder, 'x') });
      const bytes = readFileSync(join(folder, 'x'));
      peer.fit = loss(new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4));
      peer.end();
    }
    const operations = flops(preferences, factors, sweeps);
    const results = list.map(({ name, setting, seconds, fit }) => ({ name, setting, seconds: summary(seconds), fit }));
    const report = {
      benchmark: 'factorise',
      ...facts,
      data: 'ncf_ml1m',
      interactions: preferences.user.length,
      users: setup.users,
      experts: setup.items,
      factors,
      sweeps,
      threads,
      rounds,
      operations,
      limits,
      results,
    };
    writeJson(values.json ?? 'bench/results/local/factorise.json', report);
    console.log(describe(report));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Uniform numbers of a fixed generator, of the given deviation. */
function startingVectors(count, deviation) {
  let state = 1;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 32 - 0.5) * Math.sqrt(12) * deviation;
  });
}

/** The mean squared length of the users' vectors: equal where the contenders solved the same problem as far. */
function fitOf({ users }, vectors, factors) {
  let sum = 0;
  for (let n = 0; n < users.length * factors; n++) sum += vectors[n] ** 2;
  return sum / users.length;
}

/** Multiplications and additions that the sweeps cannot do without: half of each outer product, a Cholesky factor each. */
function flops({ user, users, experts }, k, sweeps) {
  const sums = user.length * k * (k + 1);
  const solves = (lines) => lines * (k ** 3 / 3 + 2 * k ** 2);
  return sweeps * (2 * sums + solves(users.length + experts.length)) + sums + solves(users.length);
}

async function numpy(python, setup, threads) {
  const script = new URL('./peers/ials.py', import.meta.url).pathname;
  const env = { ...process.env, OPENBLAS_NUM_THREADS: String(threads), OMP_NUM_THREADS: String(threads) };
  for (const name of ['OPENBLAS_CORETYPE', 'OPENBLAS_L2_SIZE']) delete env[name]; // BLAS is to choose for this processor
  const probe = spawnSync(python, ['-c', 'import numpy'], { env });
  if (probe.status !== 0) {
    console.error(`SKIPPED numpy: ${python} has none. Debian: apt-get install python3-numpy libopenblas0-pthread`);
    return undefined;
  }
  const child = spawn(python, [script], { env, stdio: ['pipe', 'pipe', 'inherit'] });
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ask = async (order) => {
    child.stdin.write(`${JSON.stringify(order)}\n`);
    const { value, done } = await answers.next();
    if (done) throw new Error('the numpy peer ended early');
    return JSON.parse(value);
  };
  const about = await ask(setup);
  return {
    name: `numpy, ${threads} BLAS thread${threads === 1 ? '' : 's'}`,
    setting: `float32, numpy ${about.numpy}, ${about.blas}`,
    seconds: [],
    ask,
    end: () => child.stdin.end(),
  };
}

/** The report as people read it. */
export function describe(report) {
  const best = Math.min(...report.results.slice(1).map(({ seconds }) => seconds.median));
  const rate = (seconds) => `${short(report.operations / seconds / 1e9)}`;
  const peak = report.limits?.float32OperationsPerSecond;
  return [
    `Seconds for ${report.sweeps} sweeps: ${report.interactions.toLocaleString('en')} interactions of ${report.users.toLocaleString('en')} users and ${report.experts.toLocaleString('en')} items (${report.data}), k = ${report.factors}, ${report.threads} threads of ${report.cpu}; medians of ${report.rounds} interleaved rounds; commit ${report.commit}.`,
    '',
    table(
      ['contender', 'seconds', 'GFLOP/s needed', 'ratio'],
      report.results.map(({ name, seconds }, i) => [
        name,
        seconds.median.toFixed(2),
        rate(seconds.median),
        i === 0 && Number.isFinite(best) ? `${(best / seconds.median).toFixed(1)}×` : '',
      ]),
    ),
    '',
    ...report.results.map(({ name, setting, fit }) => `- ${name}: ${setting}; mean squared length of the users' vectors ${fit.toFixed(3)}`),
    `- ${(report.operations / 1e9).toFixed(0)} GFLOP are needed${peak ? `; the machine does ${short(peak / 1e9)} GFLOP/s in float32` : ''}`,
  ].join('\n');
}
