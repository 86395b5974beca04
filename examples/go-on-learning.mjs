/**
 * Goes on learning from a log as it comes in, explores by Thompson sampling, and learns anew when outcomes have grown by half.
 *
 *   node examples/go-on-learning.mjs log.jsonl
 */

import { readFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import { learn, OnlineLearner, Router } from 'pointsman';

const [path] = process.argv.slice(2);
if (path === undefined) {
  console.error('usage: node examples/go-on-learning.mjs log.jsonl (or .jsonl.gz)');
  process.exit(2);
}
const bytes = await readFile(path);
const lines = (path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString().trimEnd().split('\n');
const log = lines.map((line) => JSON.parse(line));

const first = Math.floor(log.length / 3);
const learner = await OnlineLearner.start(await learn(log.slice(0, first)));
const router = await Router.from(learner); // follows to every new version

// What comes in by and by: here the rest of the log; in a service the outcomes of the router's own decisions.
const step = Math.ceil((log.length - first) / 8);
for (let count = first; count < log.length; count += step) {
  await learner.update(log.slice(count, count + step));
  // Learns in the background: requests are answered, and outcomes taken in, meanwhile.
  if (learner.due()) await learner.refit(log.slice(0, count + step));
}

const [decision] = await router.route([[{ role: 'user', content: 'Write a poem about the sea' }]], {
  k: 5,
  explore: { policy: 'thompson', among: 5 },
  seed: 1,
});
for (const { version, outcomes, updates } of learner.versions)
  console.log(`version ${version}: from ${outcomes} values, then ${updates} more`);
for (const { expert, score, deviation, propensity } of decision.candidates) {
  console.log(`${expert}: ${score.toFixed(2)} ± ${deviation.toFixed(2)}, propensity ${propensity.toFixed(3)}`);
}
console.log(`${decision.expert} answers; by version ${decision.modelVersion}`);
