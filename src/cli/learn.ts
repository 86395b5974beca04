/** `pointsman learn`: outcomes in, a folder with a model out. */
import { learn } from '../learn/index.js';
import { type Command, integer, required, usage } from './command.js';
import { readData } from './data.js';

export const learnModel: Command = {
  name: 'learn',
  summary: 'learns from outcomes which expert answers which conversations well',
  usage: '--data PATH --out FOLDER [options]',
  details:
    'The data is a log in JSON lines (.gz too), one answered message a line, such as\n' +
    '  {"conversation":[{"role":"user","content":"Hi"}],"expert":"maple-7b","retry":false,"rating":4,"length":3}\n' +
    'or a folder with an outcome matrix, prompts.jsonl and scores.csv. Rank and regularisation are chosen on a\n' +
    'part that is held out from it.',
  example: 'pointsman learn --data log.jsonl --out my-model',
  options: {
    data: { type: 'string', value: 'PATH', help: 'the log, or the folder of a matrix' },
    out: { type: 'string', value: 'FOLDER', help: 'where the model goes' },
    seed: { type: 'string', value: 'N', help: 'seed of what is held out and of the solvers (default 0)' },
  },
  async run(values, positionals, { signal, onProgress }) {
    if (positionals.length > 0) throw usage(`unexpected argument '${positionals[0]}'`);
    const out = required(values, 'out');
    const { outcomes } = await readData(required(values, 'data'), { signal, onProgress });
    const started = performance.now();
    const model = await learn(outcomes, { seed: integer(values, 'seed') ?? 0, signal, onProgress });
    await model.save(out, { signal });
    const seconds = (performance.now() - started) / 1000;
    const summary = {
      out,
      version: model.version,
      records: outcomes.conversation.length,
      conversations: outcomes.conversations.length,
      experts: outcomes.experts.length,
      metrics: model.metrics,
      dimensions: model.dimensionNames.length,
      seconds,
    };
    return {
      json: summary,
      text:
        `${out}: learned ${model.metrics.join(', ')} in ${summary.dimensions} dimensions from ${summary.records} outcomes of ` +
        `${summary.experts} experts in ${summary.conversations} conversations, ${seconds.toFixed(1)} s`,
    };
  },
};
