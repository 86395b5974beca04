// Options of the benchmarks: parsed, checked, and refused with a message that names the option.
import { parseArgs } from 'node:util';

/** What the user wrote wrongly: main.mjs prints the message and exits with 2. */
export class UsageError extends Error {}

/**
 * @param args the arguments
 * @param spec by option: [kind, default, least, most]; kind is 'integer', 'integers' (1,2,3), 'number', 'text', 'words' (a,b)
 *   or 'flag'; a default is written as the user would write it, undefined where the option has none
 */
export function readOptions(args, spec) {
  let values;
  try {
    ({ values } = parseArgs({
      args,
      options: Object.fromEntries(
        Object.entries({ ...spec, help: ['flag'] }).map(([name, [kind]]) => [name, { type: kind === 'flag' ? 'boolean' : 'string' }]),
      ),
    }));
  } catch (error) {
    throw new UsageError(error.message);
  }
  const options = { help: values.help ?? false };
  for (const [name, [kind, initial, least = 1, most = Number.MAX_SAFE_INTEGER]] of Object.entries(spec)) {
    const text = values[name] ?? initial;
    if (text === undefined) continue;
    const number = (word) => {
      const x = Number(word);
      const fits = word.trim() !== '' && x >= least && x <= most && (kind === 'number' || Number.isInteger(x));
      if (!fits) throw new UsageError(`--${name}: ${kind === 'number' ? 'a number' : 'integers'} from ${least} to ${most}, not '${word}'`);
      return x;
    };
    options[name] =
      kind === 'integer' || kind === 'number'
        ? number(text)
        : kind === 'integers'
          ? [...new Set(text.split(',').map(number))]
          : kind === 'words'
            ? text.split(',').map((word) => word.trim())
            : text;
  }
  return options;
}

/** Options that every benchmark of an index has. */
export const COMMON = {
  threads: ['integer', undefined, 1, 1024],
  isa: ['text', undefined],
  seed: ['integer', '1', 0, 2 ** 26],
  limits: ['text', 'measure'],
};

export const COMMON_HELP = `  --threads N     threads of each contender that has threads (all)
  --isa NAME      forces an instruction set: scalar, avx2, avx512, avx512vnni, neon, neondot
  --seed N        of the data (1)
  --limits none   leaves out the measurement of what the machine can do at most`;

/** Forces the instruction set; to be called before the addon is loaded, which reads it once. */
export function forceIsa(isa) {
  if (isa !== undefined) process.env.POINTSMAN_ISA = isa;
}
