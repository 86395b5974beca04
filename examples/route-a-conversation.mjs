/**
 * Routes conversations with a model that `pointsman learn` wrote, explores a little, and logs the decision.
 * Run: node examples/route-a-conversation.mjs FOLDER
 */
import { Router } from 'pointsman';

const [folder] = process.argv.slice(2);
if (!folder) throw new Error('Usage: node examples/route-a-conversation.mjs FOLDER');
const router = await Router.open(folder);

const conversation = [
  { role: 'user', content: 'My Rust program has a deadlock, how do I find it?' },
  { role: 'assistant', content: 'The cause is most likely a lock that is taken twice.' },
  { role: 'user', content: 'How would you test for it?' },
];

// Fewer retries matter most, then stars. One conversation in ten tries one of the best five at random.
const [decision] = await router.route([conversation], {
  k: 5,
  objective: { retry: -1, rating: 0.5 },
  explore: { epsilon: 0.1, among: 5 },
});
console.log(`${decision.expert} should answer (score ${decision.score.toFixed(3)}, propensity ${decision.propensity.toFixed(2)})`);
for (const { expert, score, predictions } of decision.candidates) {
  console.log(`  ${expert}: score ${score.toFixed(3)}, retry ${predictions.retry.toFixed(2)}, rating ${predictions.rating.toFixed(2)}`);
}

// The same without one provider's experts, for instance because they are down.
const [other] = await router.route([conversation], { objective: { retry: -1 }, exclude: [decision.expert] });
console.log(`without it: ${other.expert}`);
