// The machine's limits, measured by native/bench/limits*.cpp, and what they allow a search.
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const TREE = 'build/cmake';

/**
 * Builds the program if need be and runs it, for an instruction set of the engine (`stats().isa`).
 * @param seconds of each run of a loop; the figures are the best of five
 * @returns what the program prints, or undefined where it cannot be built
 */
export function measureLimits({ threads, isa, seconds = 0.05, say = console.error }) {
  try {
    const quiet = { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' };
    execFileSync('cmake', ['-S', '.', '-B', TREE], quiet);
    execFileSync('cmake', ['--build', TREE, '--target', 'pointsman_limits', '--parallel', '2'], quiet);
    return JSON.parse(execFileSync(`${TREE}/pointsman_limits`, [String(threads), isa, String(seconds)], quiet));
  } catch (error) {
    say(`SKIPPED the machine's limits: ${(error.stderr || error.message).trim().split('\n').at(-1)}`);
    return undefined;
  }
}

/** Of two measurements, the higher of each limit: noise only lowers them. */
export function highest(a, b) {
  if (!a || !b) return a ?? b;
  return Object.fromEntries(Object.keys(a).map((name) => [name, typeof a[name] === 'number' ? Math.max(a[name], b[name]) : a[name]]));
}

/**
 * Seconds that a batch takes at least when every row is looked at once: the larger of reading and computing. A search that
 * skips rows can be faster.
 * @param bytesPerRow what the first pass over a row reads: by default one byte a component, or float32 where the
 *   instruction set has no 8-bit products
 */
export function floorSeconds(
  limits,
  { rows, dimensions, batch, bytesPerRow = dimensions * (limits.int8OperationsPerSecond == null ? 4 : 1) },
) {
  const eight = limits.int8OperationsPerSecond != null;
  const bytes = rows * bytesPerRow;
  const rate = eight ? limits.int8OperationsPerSecond : limits.float32OperationsPerSecond;
  return Math.max(bytes / limits.readBytesPerSecond, (2 * rows * dimensions * batch) / rate);
}
