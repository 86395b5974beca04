/** A command line run in this process, as the tests of the command line do it. */
import { runCommandLine } from '../src/cli/run.js';

export async function cli(args: string[], { stdin = '', signal = new AbortController().signal, isTTY = false } = {}) {
  let out = '';
  let err = '';
  const code = await runCommandLine(args, {
    stdin: (async function* () {
      yield stdin;
    })(),
    stdout: { write: (text: string) => (out += text) },
    stderr: { write: (text: string) => (err += text), isTTY },
    signal,
    version: '1.2.3',
  });
  return { code, out, err, json: () => JSON.parse(out) };
}
