/**
 * `pointsman evaluate --protocol leave-one-out`: a folder with train.txt (`user item item …`) and test.txt (`user positive
 * negative …`), all by number. Where several values of a setting are given, they are compared on a validation part that is
 * cut from the training part (one item of each user, drawn at random, among as many others as a line of the test has), by
 * the sum of HR@10 and NDCG@10.
 *
 * What users met is what they were shown: items that are met often would decide. So a case counts popularity^−½, the inverse
 * of the usual model of that propensity (Yang et al., Unbiased offline recommender evaluation for missing-not-at-random
 * implicit feedback, RecSys 2018).
 */
import { join } from 'node:path';
import { PointsmanError, plural } from '../errors.js';
import { type Estimate, type RankingCase, type RankingResult, type RankingScorer, rankingResult } from '../evaluate/index.js';
import { type EnsembleMember, type Factorisation, factorise, logLines, type PreferenceTable } from '../learn/index.js';
import { Random } from '../random.js';
import type { TaskOptions } from '../types.js';
import { integer, type Option, type Outcome, text, usage, type Values } from './command.js';
import { table } from './describe.js';
import { ensembleOf, MEMBER_OPTION, MOST_SETTINGS, membersGiven, numbersOf } from './members.js';

const SETTINGS = ['factors', 'unobserved', 'penalty', 'exponent', 'ensemble', 'sweeps'] as const;
const PROPENSITY = 0.5;
/** Users and items are numbered without gaps, so a number far beyond is a slip. */
const MOST_NUMBER = 10_000_000;
type Setting = { [name in (typeof SETTINGS)[number]]?: number } & { members?: EnsembleMember[] };

export const RANKING_OPTIONS: { readonly [name: string]: Option } = {
  ...Object.fromEntries(
    SETTINGS.map((name) => [
      name,
      { type: 'string', value: 'N,…', help: `leave-one-out: ${name} of factorise; of several the best on a validation part` },
    ]),
  ),
  member: { ...MEMBER_OPTION, help: 'leave-one-out: --member of factorise, also with several values (penalty=6,12)' },
};

interface Interactions {
  user: number[];
  item: number[];
}

export async function evaluateRanking(path: string, values: Values, options: TaskOptions): Promise<Outcome> {
  const candidates = candidatesOf(values);
  const seeds = Array.from({ length: integer(values, 'seeds', 1) ?? 5 }, (_, seed) => seed);
  const { interactions, test, users, items } = await readFolder(path, options);
  const width = (test[0] as RankingCase).items.length;
  const validation = candidates.length > 1 ? await choose(candidates, interactions, { users, items, width }, options) : [];
  const best = validation.toSorted((a, b) => b.hitRate + b.ndcg - a.hitRate - a.ndcg)[0]?.settings ?? candidates[0];
  const models: Factorisation[] = [];
  for (const seed of seeds) models.push(await fit(interactions, users, items, { ...best, seed }, options));
  const counted = { ...options, replicates: integer(values, 'replicates', 1) };
  const factors = rankingResult(test, models.map(scorerOf), counted);
  const popularity = rankingResult(test, [popularityOf(interactions, items)], counted);
  const result = {
    data: path,
    protocol: `leave-one-out, ${width} candidates, ties against`,
    interactions: interactions.user.length,
    users,
    items,
    settings: best,
    members: models[0]?.arrays.members,
    seeds,
    validation,
    factors,
    popularity,
  };
  return { json: result, text: describe(result) };
}

function candidatesOf(values: Values): Setting[] {
  let all: Setting[] = [{}];
  for (const name of SETTINGS) {
    const given = text(values, name);
    if (given === undefined) continue;
    const numbers = numbersOf(given);
    if (!numbers.every(Number.isFinite)) throw usage(`--${name} must be a number, or several with commas, not '${given}'`);
    all = all.flatMap((setting) => numbers.map((number) => ({ ...setting, [name]: number })));
  }
  for (const models of membersGiven(values))
    all = all.flatMap((setting) => models.map((model) => ({ ...setting, members: [...(setting.members ?? []), model] })));
  if (all.length > MOST_SETTINGS) throw usage(`${all.length} settings are more than can be compared; ${MOST_SETTINGS} is the most`);
  return all;
}

async function choose(
  candidates: readonly Setting[],
  { user, item }: Interactions,
  { users, items, width }: { users: number; items: number; width: number },
  options: TaskOptions,
) {
  const random = new Random(1);
  const rest: Interactions = { user: [], item: [] };
  const cases: RankingCase[] = [];
  for (let from = 0; from < user.length; ) {
    let end = from;
    while (end < user.length && user[end] === user[from]) end++;
    const met = new Set(item.slice(from, end));
    const out = end - from > 1 && items - met.size >= width ? from + random.below(end - from) : -1;
    for (let n = from; n < end; n++) {
      if (n === out) continue;
      rest.user.push(user[n] as number);
      rest.item.push(item[n] as number);
    }
    if (out >= 0) {
      const drawn = [item[out] as number];
      while (drawn.length < width) {
        const other = random.below(items);
        if (!met.has(other)) drawn.push(other);
        met.add(other);
      }
      cases.push({ user: user[out] as number, items: Uint32Array.from(drawn) });
    }
    from = end;
  }
  const met = popularityOf(rest, items);
  for (const each of cases) each.weight = Math.max(1, met(each.user, each.items)[0] as number) ** -PROPENSITY;
  const results: { settings: Setting; hitRate: number; ndcg: number }[] = [];
  for (const settings of candidates) {
    const { hitRate, ndcg } = rankingResult(cases, [scorerOf(await fit(rest, users, items, settings, options))], {
      ...options,
      replicates: 1,
    });
    results.push({ settings, hitRate: hitRate.mean, ndcg: ndcg.mean });
  }
  return results;
}

function fit(
  { user, item }: Interactions,
  users: number,
  items: number,
  { members = [], ensemble, ...settings }: Setting & { seed?: number },
  { signal, onProgress }: TaskOptions,
) {
  const names = (count: number) => Array.from({ length: count }, (_, i) => String(i));
  const preferences: PreferenceTable = {
    users: names(users),
    experts: names(items),
    user: Uint32Array.from(user),
    expert: Uint32Array.from(item),
  };
  return factorise(preferences, { ...settings, ensemble: ensembleOf(ensemble, members), signal, onProgress });
}

function scorerOf({ factors: k, arrays: { userVectors, expertVectors } }: Factorisation): RankingScorer {
  return (user, items) =>
    Float64Array.from(items, (item) => {
      let sum = 0;
      for (let j = 0; j < k; j++) sum += (userVectors[user * k + j] as number) * (expertVectors[item * k + j] as number);
      return sum;
    });
}

function popularityOf({ item }: Interactions, items: number): RankingScorer {
  const counts = new Float64Array(items);
  for (const i of item) counts[i] = (counts[i] as number) + 1;
  return (_, list) => Float64Array.from(list, (i) => counts[i] as number);
}

async function readFolder(path: string, { signal }: TaskOptions) {
  const numbers = async (name: string, each: (numbers: number[], where: string) => void) => {
    const file = join(path, name);
    for await (const { line, number } of logLines(file, { signal })) {
      const list = line.trim().split(/\s+/).map(Number);
      if (!list.every((n) => Number.isInteger(n) && n >= 0 && n < MOST_NUMBER))
        throw new PointsmanError('BAD_DATA', `${file}, line ${number}: expected numbers below ${MOST_NUMBER.toLocaleString('en')}`);
      each(list, `${file}, line ${number}`);
    }
  };
  const interactions: Interactions = { user: [], item: [] };
  const test: RankingCase[] = [];
  let [users, items] = [0, 0];
  const meet = (user: number, list: readonly number[]) => {
    users = Math.max(users, user + 1);
    for (const item of list) items = Math.max(items, item + 1);
  };
  await numbers('train.txt', ([user = 0, ...list]) => {
    meet(user, list);
    for (const item of list) {
      interactions.user.push(user);
      interactions.item.push(item);
    }
  });
  await numbers('test.txt', ([user = 0, ...list], where) => {
    if (list.length < 2) throw new PointsmanError('BAD_DATA', `${where}: expected a user, the held-out item and others`);
    meet(user, list);
    test.push({ user, items: Uint32Array.from(list) });
  });
  if (test.length === 0 || interactions.user.length === 0)
    throw new PointsmanError('NOT_ENOUGH_DATA', `${path}: train.txt or test.txt is empty`);
  return { interactions, test, users, items };
}

function describe(result: {
  protocol: string;
  interactions: number;
  users: number;
  items: number;
  seeds: readonly number[];
  settings: Setting | undefined;
  validation: readonly { settings: Setting; hitRate: number; ndcg: number }[];
  factors: RankingResult;
  popularity: RankingResult;
}): string {
  const span = ({ mean, low, high }: Estimate) => `${mean.toFixed(4)} [${low.toFixed(4)}, ${high.toFixed(4)}]`;
  const row = (name: string, { hitRate, ndcg }: RankingResult) => [name, span(hitRate), span(ndcg)];
  const named = (each: object) =>
    Object.entries(each)
      .map(([name, value]) => `${name} ${value}`)
      .join(', ');
  const settings = ({ members = [], ...common }: Setting) => [named(common), ...members.map(named)].join('; and ') || 'the defaults';
  const tried = result.validation.map((each) => [settings(each.settings), each.hitRate.toFixed(4), each.ndcg.toFixed(4)]);
  return [
    `${result.protocol}; ${plural(result.interactions, 'interaction')}, ${plural(result.users, 'user')}, ${plural(result.items, 'item')}`,
    `factors: ${settings(result.settings ?? {})}`,
    '',
    table([['', 'HR@10 [95%]', 'NDCG@10 [95%]'], row('popularity', result.popularity), row('factors', result.factors)]),
    '',
    `seeds ${result.seeds.join(', ')}: ${result.factors.bySeed.map(({ hitRate, ndcg }) => `${hitRate.toFixed(4)}/${ndcg.toFixed(4)}`).join(', ')}`,
    ...(tried.length > 0 ? ['', table([['on the validation part, by popularity^−½', 'HR@10', 'NDCG@10'], ...tried])] : []),
  ].join('\n');
}
