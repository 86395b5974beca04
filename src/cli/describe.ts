/** A decision and a table in words for people. */
import { plural } from '../errors.js';
import type { AdvantageUnit, Candidate, Decision, Router } from '../route/index.js';
import type { MetricName } from '../types.js';

const PREDICTIONS: { readonly [metric in MetricName]: (value: number) => string } = {
  retry: (value) => `${(100 * value).toFixed(0)}% retried`,
  rating: (value) => `${value.toFixed(2)} stars`,
  length: (value) => `${value.toFixed(1)} messages after it`,
  score: (value) => `score ${value.toFixed(3)}`,
};

/** How many dimensions are named in an explanation. */
const NAMED = 4;

/** What a score is the sum of, over the metrics. */
const SUMMANDS: { readonly [unit in AdvantageUnit]: string } = {
  deviations: 'weight × predicted advantage in standard deviations',
  scores: "weight × the table's scores, each by what the conversation asks of its dimension; no outcome has calibrated them",
};

export function describeDecision(
  decision: Decision,
  { dimensionNames, advantageIn }: Pick<Router, 'dimensionNames' | 'advantageIn'>,
): string {
  const { conversation, expert, candidates, objective, propensity, modelVersion } = decision;
  const last = conversation.at(-1)?.content ?? '';
  const chosen = candidates.find((candidate) => candidate.expert === expert) as Candidate;
  const weights = Object.entries(objective).map(([metric, weight]) => `${metric} ${weight}`);
  const how = howChosen(decision);
  const rows = candidates.map((candidate, rank) => [
    candidate.expert === expert ? '→' : ' ',
    String(rank + 1),
    candidate.expert,
    signed(candidate.score),
    ...predictions(candidate),
    candidate.propensity.toFixed(3),
  ]);
  const head = ['', '', 'expert', 'score', ...Object.keys(chosen.predictions), 'propensity'];
  return [
    `conversation  ${JSON.stringify(last.length > 90 ? `${last.slice(0, 89)}…` : last)}${conversation.length > 1 ? ` (${conversation.length} messages)` : ''}`,
    `expert        ${expert}`,
    `expected      ${predictions(chosen).join(', ')}`,
    `objective     ${weights.join(', ')}`,
    `chosen as     ${how}; propensity ${propensity.toFixed(3)}`,
    `model         ${modelVersion}`,
    '',
    table([head, ...rows]),
    '',
    `why ${expert} scores ${signed(chosen.score)} (${SUMMANDS[advantageIn]})`,
    ...Object.entries(chosen.contributions.metrics).map(([metric, value]) => `  ${signed(value).padStart(8)}  ${metric}`),
    'the same score by what it is made of',
    ...dimensions(chosen, decision.projection, dimensionNames),
  ].join('\n');
}

/** A random draw may hit the best one, and then nobody can tell. */
function howChosen({ policy, candidates, expert }: Decision): string {
  if (policy.name === 'greedy') return 'the best for the objective';
  const among = Math.min(policy.among, candidates.length);
  if (policy.name === 'thompson') return `one of ${among}, as likely as it is to be the best of them (Thompson sampling)`;
  const rule = `ε-greedy: ε = ${policy.epsilon} among ${among}`;
  return candidates[0]?.expert === expert ? `the best (${rule})` : `tried at random among ${among} (${rule})`;
}

function predictions({ predictions: of }: Candidate): string[] {
  return (Object.entries(of) as [MetricName, number][]).map(([metric, value]) => PREDICTIONS[metric](value));
}

/** The expert's component × the conversation's, where it is about one dimension: `creative 0.80 × 0.90`. */
function dimensions({ contributions }: Candidate, projection: readonly number[], names: readonly string[]): string[] {
  const taking = [...contributions.dimensions.keys()].filter((j) => contributions.dimensions[j] !== 0);
  const order = taking.sort((a, b) => Math.abs(contributions.dimensions[b] as number) - Math.abs(contributions.dimensions[a] as number));
  const rest = order.slice(NAMED);
  const row = (value: number, name: string) => `  ${signed(value).padStart(8)}  ${name}`;
  return [
    row(contributions.bias, 'merit whatever the conversation'),
    ...order.slice(0, NAMED).map((j) => {
      const [value, asked] = [contributions.dimensions[j] as number, projection[j] as number];
      return row(value, `${names[j]} ${(value / asked).toFixed(2)} × ${asked.toFixed(2)}`);
    }),
    ...(rest.length > 0
      ? [
          row(
            rest.reduce((sum, j) => sum + (contributions.dimensions[j] as number), 0),
            plural(rest.length, 'further dimension'),
          ),
        ]
      : []),
  ];
}

function signed(value: number): string {
  return `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(3)}`;
}

/** Columns of text, aligned; the first row is the head. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] as number))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
