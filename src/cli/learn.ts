/** `pointsman learn`: outcomes in, a folder with a model out. */
import { plural } from '../errors.js';
import { checkFolder, learn } from '../learn/index.js';
import { type Command, integer, noArguments, required } from './command.js';
import { FORMATS, readData } from './data.js';
import { ENCODER, encoderOf } from './encoder.js';

export const learnModel: Command = {
  name: 'learn',
  summary: 'learns from outcomes which expert answers which conversations well',
  usage: '--data PATH --out FOLDER [options]',
  details: `${FORMATS}\n\nRank and regularisation are chosen on a part that is held out from the data.`,
  example: 'pointsman learn --data log.jsonl --out my-model',
  options: {
    data: { type: 'string', value: 'PATH', help: 'the log, or the folder of a matrix' },
    out: { type: 'string', value: 'FOLDER', help: 'where the model goes' },
    seed: { type: 'string', value: 'N', help: 'seed of what is held out and of the solvers (default 0)' },
    encoder: ENCODER,
  },
  async run(values, positionals, { signal, onProgress }) {
    noArguments(positionals);
    const out = required(values, 'out');
    const path = required(values, 'data');
    const seed = integer(values, 'seed') ?? 0;
    await checkFolder(out);
    const { outcomes } = await readData(path, { signal, onProgress });
    const started = performance.now();
    const encoder = await encoderOf(values, { signal });
    const model = await learn(outcomes, { seed, encoder, signal, onProgress }).finally(() => encoder?.close());
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
        `${out}: learned ${model.metrics.join(', ')} in ${plural(summary.dimensions, 'dimension')} from ` +
        `${plural(summary.records, 'outcome')} of ${plural(summary.experts, 'expert')} in ${plural(summary.conversations, 'conversation')}, ${seconds.toFixed(1)} s`,
    };
  },
};
