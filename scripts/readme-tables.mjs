// Writes the README's tables of measurements from bench/results/*.json; with --check says whether they are up to date.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { table } from '../bench/report.mjs';
import { describe as describeSearch } from '../bench/search.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const result = (name) => {
  const path = join(root, 'bench/results', `${name}.json`);
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : undefined;
};

// What each evaluation is compared with: the published or computed figure for the same data and protocol.
const EVALUATIONS = [
  ['llmrouter_ulab-cv', 'llmrouter_ulab, 5 folds by group', 'stack of four learners 0.6509'],
  ['llmrouter_ulab-log', 'the same, from one random outcome per prompt', 'Gaussian process 0.6281'],
  ['routerdc-split', 'routerdc, train → test, macro over 5 tasks', 'RouterDC about 0.585'],
  ['routerdc-log', 'the same, from one random outcome per prompt', '0.576'],
  ['bfcl-cv', 'bfcl, 5 folds, text alone', '0.898–0.906'],
  ['bfcl-category', 'the same, the category known', '0.915–0.920'],
  ['bfcl-scores', 'the same, category means of the experts alone, no outcome', 'best per category 0.9076'],
];

const TABLES = {
  search: () => {
    const report = result('search');
    return report && describeSearch(report);
  },
  'search-clustered': () => {
    const report = result('search-clustered');
    return report && describeSearch(report);
  },
  learning: () => {
    const rows = EVALUATIONS.flatMap(([name, title, published]) => {
      const report = result(name);
      if (!report) return [];
      const { router, bestSingle, gain, random, oracle } = report;
      const f = (x) => x.toFixed(4);
      return [
        [
          title,
          f(random.mean),
          f(bestSingle.mean),
          f(router.mean),
          `${f(gain.mean)} [${f(gain.low)}, ${f(gain.high)}]`,
          f(oracle.mean),
          published,
        ],
      ];
    });
    return table(['data and protocol', 'random', 'best single', 'pointsman', 'gain over best single [95%]', 'oracle', 'published'], rows);
  },
};

const path = join(root, 'README.md');
const before = readFileSync(path, 'utf8');
let after = before;
for (const [name, make] of Object.entries(TABLES)) {
  const text = make();
  if (text === undefined) continue;
  after = after.replace(
    new RegExp(`(<!-- table: ${name} -->\n)[\\s\\S]*?(<!-- end -->)`),
    (_, start, end) => `${start}\n${text}\n\n${end}`,
  );
}
if (!process.argv.includes('--check')) writeFileSync(path, after);
else if (after !== before) {
  console.error('README.md does not show what bench/results says: npm run docs:tables');
  process.exit(1);
}
