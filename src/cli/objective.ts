/** `pointsman objective`: which weights over metrics predict what matters in the long run. */
import { PointsmanError, plural } from '../errors.js';
import { type CohortUser, fitObjective, logLines } from '../learn/index.js';
import type { MetricName } from '../types.js';
import { type Command, integer, noArguments, number, required, text, usage } from './command.js';
import { table } from './describe.js';

export const findObjective: Command = {
  name: 'objective',
  summary: 'finds the weights over metrics that predict a long-term outcome, such as the return of users',
  usage: '--data FILE [options]',
  details:
    'The data is a cohort in JSON lines, a user a line: the means of the metrics over the first period, and what came of it,\n' +
    '0 or 1 (such as: returned on day 30), or an amount:\n' +
    '  {"user":"u-17","metrics":{"retry":0.2,"rating":4.1,"length":6},"outcome":1}\n' +
    'The weights are for route --objective. Correlation is not causation: confirm with an experiment.',
  example: 'pointsman objective --data cohort.jsonl --replicates 2000',
  options: {
    data: { type: 'string', value: 'FILE', help: 'the cohort, JSON lines (.gz too)' },
    penalty: { type: 'string', value: 'LAMBDA', help: 'regularisation, in users (default 1)' },
    scales: {
      type: 'string',
      value: 'SCALES',
      help: "deviations of the metrics between answers, as in a model's model.json: retry=0.4,rating=1 (default: between users)",
    },
    replicates: { type: 'string', value: 'N', help: 'resamples of users for the intervals (default 1000)' },
    seed: { type: 'string', value: 'N', help: 'of the resamples (default 0)' },
  },
  async run(values, positionals, { signal, onProgress }) {
    noArguments(positionals);
    const path = required(values, 'data');
    const given = text(values, 'scales')
      ?.split(',')
      .map((part) => part.split('=') as [MetricName, string]);
    const scales = given && Object.fromEntries(given.map(([name, value]) => [name.trim(), Number(value)]));
    if (scales && !Object.values(scales).every(Number.isFinite))
      throw usage(`--scales must look like retry=0.4,rating=1, not '${text(values, 'scales')}'`);
    const cohort: CohortUser[] = [];
    for await (const { line, number: at } of logLines(path, { signal })) {
      try {
        cohort.push(JSON.parse(line));
      } catch (cause) {
        throw new PointsmanError('BAD_DATA', `${path}, line ${at}: not JSON (${(cause as Error).message})`, { cause });
      }
    }
    const fitted = fitObjective(cohort, {
      penalty: number(values, 'penalty'),
      scales,
      replicates: integer(values, 'replicates', 20),
      seed: integer(values, 'seed'),
      signal,
      onProgress,
    });
    const rows = Object.entries(fitted.weights).map(([name, { mean, low, high }]) => [
      name,
      mean.toFixed(3),
      `[${low.toFixed(3)}, ${high.toFixed(3)}]`,
      low > 0 || high < 0 ? '' : 'may be none',
    ]);
    const line = (of: object) =>
      Object.entries(of)
        .map(([name, weight]) => `${name}=${Number((weight as number).toPrecision(3))}`)
        .join(',');
    return {
      json: { data: path, ...fitted },
      text: [
        `${plural(fitted.users, 'user')}${fitted.incomplete > 0 ? `; ${fitted.incomplete} without every metric left out` : ''}; ${fitted.kind} regression`,
        '',
        table([['metric', 'weight', '95% interval', ''], ...rows]),
        '',
        `on held-out users: ${fitted.kind === 'logistic' ? 'area under the curve' : 'R²'} ${fitted.quality.toFixed(3)}`,
        fitted.certain
          ? `--objective ${line(fitted.certain)}`
          : 'No weight is certain: the cohort is too small, or the metrics tell nothing of the outcome.',
      ].join('\n'),
    };
  },
};
