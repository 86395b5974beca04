// Going on learning on the synthetic sample, whose truth is known: its log in the order of time, new versions as outcomes grow, beside
// learning anew at every point; and what an update and a new version cost.
import { learn, OnlineLearner, Router } from '../dist/index.js';
import { community, converse, expected, generator, kind, log, quality } from '../scripts/sample.mjs';
import { readOptions } from './options.mjs';
import { provenance, short, summary, table, writeJson } from './report.mjs';

const HELP = `npm run bench -- online [options]

  --every N      outcomes between two points of the curve (2000)
  --growth X     learn anew when outcomes have grown X times (1.5)
  --asked N      conversations that are routed at each point, none of the log (1000)
  --seed N       of the conversations and the fits (1)
  --json FILE    where the report goes (bench/results/local/online.json)

Example: npm run bench -- online --every 3500`;

export async function main(args) {
  const options = readOptions(args, {
    every: ['integer', '2000', 100],
    growth: ['number', '1.5', 1.01, 100],
    asked: ['integer', '1000'],
    seed: ['integer', '1', 0, 2 ** 26],
    json: ['text', 'bench/results/local/online.json'],
  });
  if (options.help) return console.log(HELP);
  const { every, growth, seed } = options;
  const stream = [...log()];
  const { experts } = community(1);
  const byName = new Map(experts.map((expert) => [expert.name, expert]));
  const random = generator(1000 + seed);
  const asked = Array.from({ length: options.asked }, () => {
    const { topic, language } = kind(random);
    return { topic, language, conversation: converse(topic, language, random) };
  });
  const truthOf = async (router) => {
    const decisions = await router.route(
      asked.map(({ conversation }) => conversation),
      { k: 1 },
    );
    const sums = { retry: 0, rating: 0, length: 0 };
    for (const [i, { expert }] of decisions.entries()) {
      const q = quality(byName.get(expert), asked[i].topic, asked[i].language);
      for (const metric of Object.keys(sums)) sums[metric] += expected[metric](q) / asked.length;
    }
    return sums;
  };
  const learner = await OnlineLearner.start(await learn(stream.slice(0, every), { seed }));
  const router = await Router.from(learner);
  const curve = [];
  const [batches, singles, fits] = [[], [], []];
  for (let count = every; count <= stream.length; count += every) {
    let learnedAnew = false;
    if (count > every) {
      const part = stream.slice(count - every, count);
      const alone = part.splice(0, 50);
      for (const each of alone) singles.push(await microseconds(() => learner.update([each])));
      batches.push((await microseconds(() => learner.update(part))) / part.length);
      learnedAnew = learner.due(growth);
      if (learnedAnew) fits.push((await microseconds(() => learner.refit(stream.slice(0, count), { seed }))) / 1e6);
    }
    const anew = await Router.from(await learn(stream.slice(0, count), { seed, beliefs: false }));
    curve.push({ outcomes: count, learnedAnew, online: await truthOf(router), anew: await truthOf(anew) });
    console.error(`${count} outcomes`);
  }
  const report = {
    benchmark: 'online',
    synthetic: true,
    ...provenance(),
    experts: experts.length,
    metrics: learner.model.metrics,
    ...options,
    curve,
    updateMicroseconds: { oneByOne: summary(singles), inBatches: summary(batches) },
    learnAnewSeconds: fits,
    worst: Math.max(...curve.map(({ online, anew }) => 1 - online.rating / anew.rating)),
  };
  writeJson(options.json, report);
  const rows = curve.map(({ outcomes, learnedAnew, online, anew }) => [
    outcomes,
    ...['rating', 'retry'].flatMap((metric) => [online[metric].toFixed(3), anew[metric].toFixed(3)]),
    `${(100 * (online.rating / anew.rating - 1)).toFixed(2)}%`,
    learnedAnew ? 'yes' : '',
  ]);
  console.log(table(['outcomes', 'stars, online', 'stars, anew', 'retried, online', 'retried, anew', 'stars', 'new version'], rows));
  const { oneByOne, inBatches } = report.updateMicroseconds;
  console.log(
    `\nan outcome: ${short(inBatches.median)} µs in batches, ${short(oneByOne.median)} µs alone (text, ${learner.model.metrics.length} metrics, index); ` +
      `a new version: ${fits.map(short).join(', ')} s`,
  );
}

async function microseconds(work) {
  const start = performance.now();
  await work();
  return 1000 * (performance.now() - start);
}
