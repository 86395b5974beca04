/**
 * Content-based routing from end to end, before any outcome: a judge reads what experts answered and scores them in three named
 * dimensions, a conversation is projected on the same three, and the decision says why in their names.
 * Run: node examples/judge-and-route.mjs [folder]
 */
import { mkdirSync, mkdtempSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { judge, judgeBill, learnFromScores, Router, readScoreTable, writeScoreTable } from 'pointsman';

const [folder = mkdtempSync(join(tmpdir(), 'judge-'))] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });

// The judge is a stand-in (below) that counts words. For a real model, this is the line to change, for instance to
// const endpoint = { baseUrl: 'http://localhost:8000/v1', model: 'Qwen/Qwen3-32B' };
const endpoint = await standInJudge();

const rubric = {
  dimensions: [
    { name: 'descriptive', description: 'paints what it speaks of, so that one sees, hears or smells it' },
    { name: 'creative/fun', description: 'original, playful, surprising; makes one smile' },
    { name: 'informative/factual', description: 'teaches something that is true and to the point' },
  ],
};

// What three experts answered to the same prompts. The answers are made up.
const prompts = ['Tell me about the sea.', 'Tell me about bread.'];
const answers = {
  'painter-7b': [
    'Grey water, a golden and misty horizon, the salty wind, and one white, giggling gull.',
    'A golden crust, a soft and warm crumb, a smoky smell; it is baked at 230 degrees.',
  ],
  'bard-13b': [
    'The sea tickled the beach, the beach giggled, and a pirate crab danced, grinning, into the golden evening.',
    'Once a loaf dreamed that it was a dragon, danced out of the oven and giggled, all warm and silly.',
  ],
  'archive-70b': [
    'Oceans cover 71 percent of the surface, 3.7 kilometres deep on average; salty because rivers carry minerals, since about 4 billion years.',
    'Bread is flour and water, because yeast makes gas it rises; 14,000 years old, 1.1 percent salt, baked at 230 degrees until golden.',
  ],
};
const responses = Object.entries(answers).flatMap(([expert, texts]) =>
  texts.map((response, n) => ({ expert, conversation: [{ role: 'user', content: prompts[n] }], response })),
);

// 1. The bill comes first, then the calls. Every answer is kept, so a rerun asks nothing.
const options = { ...endpoint, rubric, cache: join(folder, 'judge.answers.jsonl') };
const bill = await judgeBill(responses, options);
console.log(`to be asked: ${bill.calls} calls, about ${bill.promptTokens} tokens of prompts and ${bill.completionTokens} of answers`);
const judged = await judge(responses, options);
console.log(`asked: ${judged.usage.calls} calls; a rerun would ask ${(await judgeBill(responses, options)).calls}`);
for (const { dimension, alpha } of judged.agreement) console.log(`  judgements of ${dimension} agree: alpha ${alpha.toFixed(2)}`);

// 2. The scores become a table, in a file that people and other programs can read.
const path = join(folder, 'scores.csv');
await writeScoreTable(path, judged.table);
const scores = await readScoreTable(path);
for (const [e, expert] of scores.experts.entries()) {
  const row = scores.dimensions.map((name, d) => `${name} ${scores.scores[e * scores.dimensions.length + d].toFixed(2)}`);
  console.log(`  ${expert}: ${row.join(', ')}`);
}

// 3. Labelled conversations teach which words ask for which dimension.
const ask = (content) => [{ role: 'user', content }];
const example = (content, dimension) => ({ conversation: ask(content), dimension });
const model = await learnFromScores(scores, {
  examples: [
    example('Describe the old harbour in the evening light.', 'descriptive'),
    example('What does the room look like? Describe the furniture.', 'descriptive'),
    example('Write a funny poem about a cat.', 'creative/fun'),
    example('Tell me a fun story about a dragon who bakes.', 'creative/fun'),
    example('When was the bridge built, and who built it?', 'informative/factual'),
    example('How many people live in Norway?', 'informative/factual'),
  ],
});

// 4. The score of an expert is the sum over the dimensions of its score × how much the conversation asks for it.
const router = await Router.from(model);
const questions = ['Write a fun story about a cat.', 'Describe the harbour in the evening.', 'How many people live in Japan?'];
for (const decision of await router.route(questions.map(ask))) {
  const { conversation, expert, candidates, projection } = decision;
  const row = scores.experts.indexOf(expert) * scores.dimensions.length;
  const because = scores.dimensions.map((name, d) => `${name} ${scores.scores[row + d].toFixed(2)} × ${projection[d].toFixed(2)}`);
  console.log(`${conversation[0].content}\n  ${expert} (${decision.score.toFixed(2)}), because ${because.join(' + ')}`);
  console.log(`  then ${candidates.slice(1).map((other) => `${other.expert} (${other.score.toFixed(2)})`).join(', ')}`); // biome-ignore format: one line
}

/**
 * A stand-in for a language model behind an OpenAI-compatible endpoint: it speaks the chat-completions protocol, and scores by words
 * that it counts. It judges nothing; it lets this example run without a model.
 */
async function standInJudge() {
  const words = {
    descriptive: /grey|golden|misty|salty|white|soft|warm|smoky/g,
    'creative/fun': /tickled|giggl|pirate|danced|grinning|dream|dragon|silly/g,
    'informative/factual': /\d[\d.,]*|percent|kilometres|degrees|because/g,
  };
  const server = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    const { messages, seed } = JSON.parse(Buffer.concat(parts).toString());
    const [, answer] = /The answer to its last message:\n(.*)\n/.exec(messages.at(-1).content);
    const score = (pattern) => Math.min(9, 1 + 2 * (answer.match(pattern) ?? []).length) + (seed % 2) / 2; // no two judgements are quite alike
    const content = JSON.stringify({ scores: Object.fromEntries(Object.entries(words).map(([name, pattern]) => [name, score(pattern)])) });
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ choices: [{ message: { role: 'assistant', content }, finish_reason: 'stop' }] }));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  server.unref(); // it ends with the program
  return { baseUrl: `http://127.0.0.1:${server.address().port}/v1`, model: 'stand-in' };
}
