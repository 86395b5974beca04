/**
 * Makes the bundled sample, examples/data/community.jsonl.gz: a SYNTHETIC community of 1,211 experts and what people
 * made of their answers. Nothing in it was observed; docs/sample.md describes the generating model below.
 *
 * Usage: node scripts/sample.mjs [--seed 1] [--records 14000] [--out examples/data/community.jsonl.gz]
 *
 * Imported as a module it gives `community(seed)` with the true quality of every expert, so that tests can hold
 * what was learned against the truth.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';

const HERE = dirname(fileURLToPath(import.meta.url));
/** `slots` and `sentences` by language and topic: `open` begins, `reply` is an earlier answer, `more` goes on. */
const { slots, sentences } = JSON.parse(readFileSync(join(HERE, 'sample-sentences.json'), 'utf8'));

export const EXPERTS = 1211;
const TOPICS = Object.keys(sentences.en);
const LANGUAGES = { en: 0.7, de: 0.1, es: 0.1, fr: 0.1 };
const TOPIC_SHARES = [0.14, 0.09, 0.1, 0.13, 0.2, 0.13, 0.09, 0.06, 0.06];

/** Families share a base model: its word in the name, and the topics and languages that it was tuned for. */
const FAMILIES = [
  { word: 'coder', good: ['coding', 'maths'] },
  { word: 'forge', good: ['coding', 'summaries'] },
  { word: 'abacus', good: ['maths', 'facts'] },
  { word: 'sage', good: ['facts', 'advice'] },
  { word: 'archive', good: ['facts', 'summaries'] },
  { word: 'bard', good: ['stories', 'role play'] },
  { word: 'quill', good: ['stories', 'summaries'] },
  { word: 'mask', good: ['role play', 'small talk'] },
  { word: 'tavern', good: ['role play', 'stories'] },
  { word: 'hearth', good: ['small talk', 'advice'] },
  { word: 'compass', good: ['advice', 'facts'] },
  { word: 'rosetta', good: ['translation', 'de', 'es', 'fr'] },
  { word: 'polyglot', good: ['translation', 'small talk', 'de', 'es', 'fr'] },
  { word: 'chat', good: [] },
];
const FIRST_NAMES = (
  'amber aspen aurora basalt birch bramble canyon cedar cinder clover cobalt comet coral cypress dahlia delta dune ' +
  'ember fable falcon fern fjord garnet glacier harbor hazel heron indigo iris ivory jade juniper kestrel lagoon ' +
  'larch lilac linden lotus lumen maple marble meadow mistral nimbus oak ochre onyx opal orchid osprey pebble ' +
  'pine poppy quartz raven river robin saffron sparrow summit thistle tundra umber velvet willow wren zephyr'
).split(' ');
const SIZES = ['1b', '3b', '7b', '8b', '13b', '20b', '34b', '70b'];

/** mulberry32 (Tommy Ettinger): 32 bits of state are plenty for a sample. */
export function generator(seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = Math.imul(state ^ (state >>> 15), state | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (n) => Math.floor(uniform() * n);
  const pick = (list) => list[below(list.length)];
  const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  const weighted = (weights) => {
    let left = uniform() * weights.reduce((a, b) => a + b, 0);
    for (let i = 0; i < weights.length; i++) {
      left -= weights[i];
      if (left < 0) return i;
    }
    return weights.length - 1;
  };
  const shuffle = (list) => {
    for (let i = list.length - 1; i > 0; i--) {
      const j = below(i + 1);
      [list[i], list[j]] = [list[j], list[i]];
    }
    return list;
  };
  return { uniform, below, pick, normal, weighted, shuffle };
}

/** The experts with their true skills, and the logging policy's preferences. */
export function community(seed = 1) {
  const random = generator(seed);
  const needs = [...TOPICS, 'de', 'es', 'fr'];
  const families = FAMILIES.map(({ word, good }) => ({
    word,
    skills: Object.fromEntries(needs.map((need) => [need, (good.includes(need) ? 1.1 : -0.35) + 0.25 * random.normal()])),
  }));
  const names = new Set();
  const experts = [];
  while (experts.length < EXPERTS) {
    const family = random.below(families.length);
    const size = random.below(SIZES.length);
    const { word, skills } = families[family];
    const name = `${random.pick(FIRST_NAMES)}-${word}-${SIZES[size]}`;
    if (names.has(name)) continue;
    names.add(name);
    const merit = 0.08 * (size - 3.5) + 0.3 * random.normal();
    experts.push({
      name,
      family,
      merit,
      skills: Object.fromEntries(needs.map((need) => [need, skills[need] + 0.3 * random.normal()])),
    });
  }
  // Popularity falls with a random rank, Zipf–Mandelbrot: a few are asked a lot, most hardly ever.
  const ranks = random.shuffle(experts.map((_, i) => i));
  for (const [i, expert] of experts.entries()) expert.popularity = 1 / (ranks[i] + 12);
  return { experts, families };
}

/** The true quality q of an expert's answers to a kind of conversation, in units in which people differ by about 1. */
export function quality(expert, topic, language) {
  return expert.merit + expert.skills[topic] + (language === 'en' ? 0 : expert.skills[language]);
}

/** The truth about outcomes: expectations of the three metrics at quality q. */
export const expected = {
  retry: (q) => 1 / (1 + Math.exp(1.2 + 1.1 * q)),
  rating: (q) => Math.min(5, Math.max(1, 3.4 + 0.8 * q)),
  length: (q) => Math.exp(1.1 + 0.45 * Math.min(q, 2.5)),
};

const MEAN_ROUNDS = 1.5;

/** A conversation of a topic in a language: one to four exchanges, ending with the person's message. */
export function converse(topic, language, random) {
  const say = (kind) =>
    random
      .pick(sentences[language][topic][kind])
      .replace(/\{(\w+)\}/g, (_, slot) => (slot === 'n' ? String(2 + random.below(98)) : random.pick(slots[language][slot])));
  const messages = [{ role: 'user', content: say('open') }];
  while (messages.length < 7 && random.uniform() < 1 - 1 / MEAN_ROUNDS) {
    messages.push({ role: 'assistant', content: say('reply') }, { role: 'user', content: say('more') });
  }
  return messages;
}

/** A kind of conversation as the community has them. */
export function kind(random) {
  const language = Object.keys(LANGUAGES)[random.weighted(Object.values(LANGUAGES))];
  for (;;) {
    const topic = TOPICS[random.weighted(TOPIC_SHARES)];
    if (sentences[language][topic]) return { topic, language };
  }
}

/** The log, one object a record, in the format of `pointsman learn`. */
export function* log({ seed = 1, records = 14_000 } = {}) {
  const { experts } = community(seed);
  const random = generator(seed + 1);
  const trials = random.shuffle(experts.map((_, i) => i));
  // A logging policy that knows a little: popularity, and which families are made for the topic.
  const policies = new Map();
  const policy = (topic) => {
    if (!policies.has(topic)) {
      const weights = experts.map(({ popularity, family }) => popularity * (FAMILIES[family].good.includes(topic) ? 3 : 1));
      const sum = weights.reduce((a, b) => a + b);
      policies.set(
        topic,
        weights.map((weight) => weight / sum),
      );
    }
    return policies.get(topic);
  };
  let at = Date.UTC(2026, 0, 5, 8);
  for (let n = 0; n < records; n++) {
    const { topic, language } = kind(random);
    const conversation = converse(topic, language, random);
    const trial = n < experts.length; // first everyone is tried once, in random order
    const i = trial ? trials[n] : random.weighted(policy(topic));
    const propensity = trial ? 1 / experts.length : policy(topic)[i];
    const q = quality(experts[i], topic, language) + 0.4 * random.normal(); // how hard this conversation is
    const stars = 3.4 + 0.8 * q + 0.7 * random.normal();
    const mean = expected.length(q);
    at += 60_000 * (1 + random.below(9));
    yield {
      conversation,
      expert: experts[i].name,
      retry: random.uniform() < expected.retry(q),
      ...(random.uniform() < 0.6 && { rating: Math.min(5, Math.max(1, Math.round(stars))) }), // not everyone gives stars
      length: Math.floor(Math.log(1 - random.uniform()) / Math.log(mean / (1 + mean))), // geometric
      propensity: Number(propensity.toPrecision(6)),
      at: new Date(at).toISOString().replace('.000Z', 'Z'),
    };
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string', default: '1' },
      records: { type: 'string', default: '14000' },
      out: { type: 'string', default: join(HERE, '..', 'examples', 'data', 'community.jsonl.gz') },
    },
  });
  const lines = [...log({ seed: Number(values.seed), records: Number(values.records) })].map((record) => JSON.stringify(record));
  mkdirSync(dirname(values.out), { recursive: true });
  writeFileSync(values.out, gzipSync(`${lines.join('\n')}\n`, { level: 9 }));
  console.log(`${values.out}: ${lines.length} synthetic records of ${EXPERTS} experts`);
}
