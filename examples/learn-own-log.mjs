/**
 * Learns from your own log and keeps the model in a folder.
 * Run: node examples/learn-own-log.mjs [log.jsonl] [folder]     (default: the bundled synthetic sample)
 *
 * A line of the log: {"conversation":[{"role":"user","content":"Hi"}],"expert":"some-model","retry":false,"rating":4}
 */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { learn, Router, readInteractions } from 'pointsman';

const [log = fileURLToPath(new URL('data/community.jsonl.gz', import.meta.url)), folder = mkdtempSync(join(tmpdir(), 'model-'))] =
  process.argv.slice(2);

const stop = new AbortController();
process.once('SIGINT', () => stop.abort());

const outcomes = await readInteractions(log, { signal: stop.signal });
console.log(`${outcomes.conversation.length} outcomes of ${outcomes.experts.length} experts`);

const model = await learn(outcomes, { seed: 0, signal: stop.signal });
await model.save(folder);

const router = await Router.open(folder);
console.log(`learned ${router.metrics.join(', ')} in ${router.dimensionNames.length} dimensions; the model is in ${folder}`);
