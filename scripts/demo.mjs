/**
 * The main job in one line: learns from the bundled sample and routes a conversation.
 *
 *   npm run demo
 *   npm run demo -- "your conversation"
 *   npm run demo -- "your conversation" --data your.jsonl
 *
 * It runs the two commands that it prints. The sample is synthetic (docs/sample.md); the model stays in demo-model/.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const main = join(root, 'dist', 'cli', 'main.js');
const { values, positionals } = parseArgs({
  args: process.argv.slice(2).filter((arg) => arg !== '--'), // `npm run demo -- "…" -- --data …` is the same
  options: {
    data: { type: 'string', default: join(root, 'examples', 'data', 'community.jsonl.gz') },
    model: { type: 'string', default: join(root, 'demo-model') },
  },
  allowPositionals: true,
});
if (!existsSync(main)) {
  console.error('pointsman is not built yet: run npm ci (or npm run compile) first');
  process.exit(1);
}

const conversation = positionals.join(' ') || 'Write a short story about a lighthouse keeper on a winter island.';
pointsman('learn', '--data', values.data, '--out', values.model);
console.log();
pointsman('route', '--model', values.model, conversation);

function pointsman(...args) {
  console.log(`$ pointsman ${args.map((arg) => (/^[\w./=-]+$/.test(arg) ? arg : JSON.stringify(arg))).join(' ')}`);
  const { status } = spawnSync(process.execPath, [main, ...args], { stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}
