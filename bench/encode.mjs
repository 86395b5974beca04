// Encoding: conversations per second, whole and for each core, and bytes of text, by length; by turns with it the search that
// follows, and from which length on an encoder falls behind it. The built-in one should not.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { featureColumns } from '../dist/encode/index.js';
import { ExpertIndex, HashingEncoder, OnnxEncoder } from '../dist/index.js';
import { Random } from '../dist/random.js';
import { transformer, vocabularySize, wordPiece } from '../test/tiny-models.mjs';
import { fillIndex, makeData } from './data.mjs';
import { describeEncode } from './describe.mjs';
import { provenance, summary, writeJson } from './report.mjs';

const HELP = `npm run bench -- encode [options]

  --words A,B,…   words of a conversation, rising (20,200,1000,5000)
  --text FILE     conversations are cut from this text, words in their order (synthetic words)
  --rows N        experts of the search beside it (1000000)
  --dims N        its dimensions, and those of the built-in encoder (64)
  --batch N       conversations, and queries, of one call (256)
  --onnx-words N  the longest conversation that the ONNX models read: they take long (200)
  --threads N     threads of each contender (all)
  --seconds N     at least so long for each number and the search beside it (4)
  --onnx SHAPES   tiny (the tests' model), minilm (6 layers × 384, as all-MiniLM-L6-v2 has, random weights) (tiny,minilm)
  --json FILE     where the report goes (bench/results/local/encode.json)

Example: npm run bench -- encode --rows 100000 --words 20,200`;

/** Conversations of one call of a language model at most: it gains little from more. */
const ONNX_BATCH = 32;

const SHAPES = {
  tiny: { hidden: 32, heads: 4, layers: 2, positions: 512 },
  minilm: { hidden: 384, heads: 12, layers: 6, positions: 512 },
};

export async function main(args) {
  const { values } = parseArgs({
    args,
    options: {
      words: { type: 'string', default: '20,200,1000,5000' },
      text: { type: 'string' },
      rows: { type: 'string', default: '1000000' },
      dims: { type: 'string', default: '64' },
      batch: { type: 'string', default: '256' },
      threads: { type: 'string', default: String(availableParallelism()) },
      seconds: { type: 'string', default: '4' },
      onnx: { type: 'string', default: 'tiny,minilm' },
      'onnx-words': { type: 'string', default: '200' },
      json: { type: 'string', default: 'bench/results/local/encode.json' },
      help: { type: 'boolean' },
    },
  });
  if (values.help) return console.log(HELP);
  const [rows, dimensions, batch, threads, seconds] = ['rows', 'dims', 'batch', 'threads', 'seconds'].map((name) => Number(values[name]));
  const lengths = values.words.split(',').map(Number);
  const own = values.text && readFileSync(values.text, 'utf8').split(/\s+/).filter(Boolean);
  const search = await openSearch({ rows, dimensions, batch, threads });
  const folder = mkdtempSync(join(tmpdir(), 'pointsman-bench-'));
  const results = [];
  try {
    for (const { name, encoder } of await encoders({ dimensions, threads, folder, shapes: values.onnx.split(',').filter(Boolean) })) {
      for (const words of lengths) {
        if (encoder instanceof OnnxEncoder && words > Number(values['onnx-words'])) continue;
        const size = encoder instanceof OnnxEncoder ? Math.min(batch, ONNX_BATCH) : batch;
        const conversations = own ? cut(own, size, words) : makeConversations(size, words);
        const bytes = conversations.reduce((sum, [{ content }]) => sum + Buffer.byteLength(content), 0) / size;
        const [perSecond, searches] = await rates([{ call: () => encoder.encode(conversations), count: size }, search], seconds);
        const perSecondAndCore = perSecond.median / threads;
        const bytesPerSecondAndCore = bytes * perSecondAndCore;
        results.push({ name, words, bytes, batch: size, perSecond, searches, perSecondAndCore, bytesPerSecondAndCore });
      }
      await encoder.close?.();
    }
  } finally {
    rmSync(folder, { recursive: true });
  }

  const { k, isa } = search;
  const report = { benchmark: 'encode', ...provenance(), threads, rows, dimensions, batch, k, isa, synthetic: !own, results };
  writeJson(values.json, report);
  console.log(describeEncode(report));
}

async function encoders({ dimensions, threads, folder, shapes }) {
  const columns = featureColumns();
  const random = new Random(1);
  const projection = Float32Array.from({ length: columns * dimensions }, () => random.uniform() - 0.5);
  const builtIn = new HashingEncoder({ dimensions, idf: new Float32Array(columns).fill(1), projection, threads });
  const list = [{ name: `built-in, ${dimensions} dimensions`, encoder: builtIn }];
  const tokenizer = wordPiece();
  const tokenizerPath = join(folder, 'tokenizer.json');
  writeFileSync(tokenizerPath, JSON.stringify(tokenizer));
  for (const shape of shapes) {
    if (!SHAPES[shape]) throw new Error(`--onnx: there is no shape ${shape}, only ${Object.keys(SHAPES).join(', ')}`);
    const model = join(folder, `${shape}.onnx`);
    writeFileSync(model, transformer({ vocabulary: vocabularySize(tokenizer), ...SHAPES[shape] }));
    const what = shape === 'tiny' ? "ONNX, the tests' small model" : 'ONNX, shape of MiniLM-L6, random weights';
    list.push({ name: what, encoder: await OnnxEncoder.open({ model, tokenizer: tokenizerPath, threads }) });
  }
  return list;
}

/** Synthetic: words of Zipf's frequencies, from a vocabulary that the tests' tokenizer has in part. */
function makeConversations(count, words) {
  const random = new Random(words);
  const known = 'the rain falls on green hills and river runs to sea write poem about compiler code function value sky answer'.split(' ');
  const word = () => {
    const rank = Math.floor(Math.exp(random.uniform() * Math.log(5000)));
    return known[rank - 1] ?? `word${rank}`;
  };
  return Array.from({ length: count }, () => [{ role: 'user', content: Array.from({ length: words }, word).join(' ') }]);
}

/** Out of all words of the user's text: from its begin again where it ends. */
function cut(all, count, words) {
  if (all.length < words) throw new Error(`--text has ${all.length} words, fewer than the ${words} of a conversation`);
  let at = 0;
  return Array.from({ length: count }, () => {
    if (at + words > all.length) at = 0;
    at += words;
    return [{ role: 'user', content: all.slice(at - words, at).join(' ') }];
  });
}

const TURN_MS = 100;

/** Of `count` things a call each, how many a second: by turns, at least five; median and tails over the calls. */
async function rates(contenders, seconds) {
  const samples = contenders.map(() => []);
  for (const { call } of contenders) await call();
  for (const begin = performance.now(), turns = samples[0]; performance.now() - begin < seconds * 1000 || turns.length < 5; ) {
    for (const [i, { call, count }] of contenders.entries()) {
      const turn = performance.now();
      do {
        const start = performance.now();
        await call();
        samples[i].push((count / (performance.now() - start)) * 1000);
      } while (performance.now() - turn < TURN_MS);
    }
  }
  return samples.map(summary);
}

async function openSearch({ rows, dimensions, batch, threads }) {
  const k = 10;
  const data = await makeData({ kind: 'iid', rows, dimensions, queryCount: batch, seed: 1 });
  const index = new ExpertIndex({ dimensions, threads });
  await fillIndex(index, data);
  return { call: () => index.search(data.queries, { k }), count: batch, k, isa: index.stats().isa };
}
