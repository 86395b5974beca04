// Writes the tables of measurements in README.md and docs/benchmarks.md from bench/results/*.json; with --check says whether they
// are up to date. A table stands between `<!-- table: NAME -->` and `<!-- end -->`.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describeBuild, describeEncode, describeMicro, describeSearch } from '../bench/describe.mjs';
import { table } from '../bench/report.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const result = (name) => {
  const path = join(root, 'bench/results', `${name}.json`);
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : undefined;
};

const tell = (name, describe) => {
  const report = result(name);
  return report && describe(report);
};

// What each evaluation is compared with: the published or computed figure for the same data and protocol.
const EVALUATIONS = [
  ['llmrouter_ulab-cv', 'llmrouter_ulab, 5 folds by group', 'stack of four learners 0.6509'],
  ['llmrouter_ulab-sentences', 'the same, a sentence encoder beside the built-in one', 'stack of four learners 0.6509'],
  ['llmrouter_ulab-log', 'the same, built-in encoder, from one random outcome per prompt', 'Gaussian process 0.6281'],
  ['llmrouter_ulab-log-sentences', 'the same, a sentence encoder beside the built-in one', 'Gaussian process 0.6281'],
  ['routerdc-split', 'routerdc, train → test, macro over 5 tasks', 'RouterDC about 0.585'],
  ['routerdc-log', 'the same, from one random outcome per prompt', '0.576'],
  ['bfcl-cv', 'bfcl, 5 folds, text alone', '0.898–0.906'],
  ['bfcl-category', 'the same, the category known', '0.915–0.920'],
  ['bfcl-hybrid', 'the same, category known, category means of the experts as scores, and outcomes', 'best per category 0.9076'],
  ['bfcl-scores', 'the same, category means of the experts alone, no outcome', 'best per category 0.9076'],
];

// Reports of bench/, by the name of file and table. `-details` of a search: with latencies, and every k and dimension.
const REPORTS = {
  search: describeSearch,
  'search-clustered': describeSearch,
  'search-k': describeSearch,
  'search-dims': describeSearch,
  'search-avx2': describeSearch,
  'search-clustered-avx2': describeSearch,
  'search-10m': describeSearch,
  micro: describeMicro,
  build: describeBuild,
  encode: describeEncode,
};

const TABLES = {
  ...Object.fromEntries(
    Object.entries(REPORTS).flatMap(([name, describe]) => [
      [name, () => tell(name, describe)],
      ...(describe === describeSearch ? [[`${name}-details`, () => tell(name, (report) => describe(report, { details: true }))]] : []),
    ]),
  ),
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

for (const page of ['README.md', 'docs/benchmarks.md']) {
  const path = join(root, page);
  const before = readFileSync(path, 'utf8');
  const after = before.replace(/(<!-- table: ([\w-]+) -->\n)[\s\S]*?(<!-- end -->)/g, (whole, start, name, end) => {
    if (!(name in TABLES)) throw new Error(`${page}: there is no table '${name}'`);
    const text = TABLES[name]();
    return text === undefined ? whole : `${start}\n${text}\n\n${end}`;
  });
  if (!process.argv.includes('--check')) writeFileSync(path, after);
  else if (after !== before) {
    console.error(`${page} does not show what bench/results says: npm run docs:tables`);
    process.exitCode = 1;
  }
}
