/**
 * Routes before any outcome: experts scored in three named dimensions, conversations projected on them.
 * Run: node examples/route-by-scores.mjs
 */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { learnFromScores, Router, readScoreTable, writeScoreTable } from 'pointsman';

// A judge's table, made up here: three experts, scores from 0 to 1, one of them missing.
const path = join(mkdtempSync(join(tmpdir(), 'scores-')), 'scores.csv');
await writeScoreTable(path, {
  dimensions: ['descriptive', 'creative', 'informative'],
  experts: ['painter-7b', 'bard-13b', 'archive-70b'],
  scores: Float32Array.of(0.9, 0.4, 0.3, 0.5, 0.8, 0.2, 0.4, 0.1, Number.NaN),
});
const scores = await readScoreTable(path);

const example = (content, dimension) => ({ conversation: [{ role: 'user', content }], dimension });
const model = await learnFromScores(scores, {
  examples: [
    example('Describe the old harbour in the evening light.', 'descriptive'),
    example('What does the room look like? Describe the furniture.', 'descriptive'),
    example('Write a funny poem about a cat.', 'creative'),
    example('Tell me a fun story about a dragon who bakes.', 'creative'),
    example('When was the bridge built, and who built it?', 'informative'),
    example('How many people live in Norway?', 'informative'),
  ],
});

const router = await Router.from(model);
for (const content of ['Write a fun story about a cat.', 'Describe the harbour and the bridge.']) {
  const conversation = [{ role: 'user', content }];
  const [decision] = await router.route([conversation]);
  const [best] = decision.candidates;
  const psi = await model.encoder.encode([conversation]);
  const row = scores.experts.indexOf(decision.expert) * scores.dimensions.length;
  const because = scores.dimensions.map((name, d) => {
    const score = scores.scores[row + d];
    const known = Number.isNaN(score) ? 'imputed' : score.toFixed(1);
    return `${name} ${known} × ${psi[d].toFixed(2)} = ${best.contributions.dimensions[d].toFixed(2)}`;
  });
  console.log(`${content}\n  ${decision.expert}, because ${because.join(', ')}`);
}
