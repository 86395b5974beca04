// The measurement of a search: contenders in turn, round by round, so that what slows the machine slows all of them.
import { Histogram } from './histogram.mjs';
import { quantile } from './report.mjs';

const NANOSECONDS = 1e6; // of a millisecond
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/**
 * Times every contender at every batch size, for one k.
 * @param list contenders (contenders.mjs), of which the first is exact and tells what is to be found
 * @param seconds for which a contender is called in a round at least
 * @returns one result for each contender and batch, and how the approximate ones were tuned
 */
export async function measure(list, { batches, k, queryCount, rounds, seconds, say }) {
  const { ids: reference } = await list[0].search(0, queryCount, k, true);
  const recallOf = (first, count, ids) => overlap(reference.subarray(first * k, (first + count) * k), ids, count, k);
  const tunings = [];
  for (const contender of list) {
    if (!contender.prepare) continue;
    say(`k ${k}: tuning ${contender.name} …`);
    const setting = await contender.prepare(queryCount, k, (ids) => recallOf(0, queryCount, ids));
    tunings.push({ contender: contender.name, k, ...setting });
  }

  const results = [];
  for (const batch of batches) {
    const own = list.map((contender) => ({
      contender,
      count: Math.min(batch, contender.most ?? batch),
      calls: new Histogram(),
      medians: [],
      recalls: [],
    }));
    for (let round = 0; round <= rounds; round++) {
      for (const one of own) {
        // The first round warms up, and compares what is found.
        if (round === 0) one.recalls = await compare(one, { k, queryCount, seconds, recallOf });
        else one.medians.push(await time(one, { k, queryCount, seconds }));
        await pause(20); // threads that spin after their work come to rest
      }
    }
    say(`k ${k}, batch ${batch}: ${own.map((one) => `${one.contender.name} ${Math.round(rate(one, 0.5))}`).join(', ')} q/s`);
    for (const one of own) {
      const { median, p95, p99, samples } = one.calls.summary(NANOSECONDS);
      results.push({
        contender: one.contender.name,
        k,
        batch,
        queriesTimedPerCall: one.count,
        queriesPerSecond: rate(one, 0.5),
        slowestRound: rate(one, 1),
        fastestRound: rate(one, 0),
        callMilliseconds: { median, p95, p99, samples },
        recall: one.recalls.reduce((sum, x) => sum + x, 0) / one.recalls.length,
      });
    }
  }
  return { results, tunings };
}

/** Queries per second of the round at this place, by its median call. */
function rate({ count, medians }, place) {
  const sorted = [...medians].sort((a, b) => a - b);
  return (1000 * count) / quantile(sorted, place);
}

// Calls go on through the queries, so that none is answered from a warm cache.
const place = (call, count, queryCount) => (call % Math.floor(queryCount / count)) * count;

async function compare({ contender, count }, { k, queryCount, seconds, recallOf }) {
  const recalls = [];
  const until = performance.now() + 1000 * seconds;
  for (let call = 0; call < Math.floor(queryCount / count) && (call === 0 || performance.now() < until); call++) {
    const first = place(call, count, queryCount);
    const { ids } = await contender.search(first, count, k, true);
    recalls.push(recallOf(first, count, ids));
  }
  return recalls;
}

async function time({ contender, count, calls }, { k, queryCount, seconds }) {
  const round = new Histogram();
  const until = performance.now() + 1000 * seconds;
  for (let call = 0; call === 0 || performance.now() < until; call++) {
    const { milliseconds } = await contender.search(place(call, count, queryCount), count, k, false);
    round.record(milliseconds * NANOSECONDS);
  }
  calls.add(round);
  return round.quantile(0.5) / NANOSECONDS;
}

/** The share of the wanted ids that were found, over `count` queries. */
export function overlap(wanted, found, count, k) {
  let hits = 0;
  for (let q = 0; q < count; q++) {
    const set = new Set(wanted.subarray(q * k, (q + 1) * k));
    for (const id of found.subarray(q * k, (q + 1) * k)) hits += set.delete(id) ? 1 : 0;
  }
  return hits / (count * k);
}
