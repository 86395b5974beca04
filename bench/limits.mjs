// The machine's limits, measured by native/bench/limits.cpp, and what they allow a search.
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Builds the program if need be and runs it; undefined where it cannot be built. */
export function measureLimits(threads) {
  try {
    const quiet = { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] };
    execFileSync('cmake', ['-S', '.', '-B', 'build/cmake'], quiet);
    execFileSync('cmake', ['--build', 'build/cmake', '--target', 'pointsman_limits'], quiet);
    return JSON.parse(execFileSync('build/cmake/pointsman_limits', [String(threads)], { ...quiet, encoding: 'utf8' }));
  } catch (error) {
    console.error(`SKIPPED the machine's limits: ${error.message.split('\n')[0]}`);
    return undefined;
  }
}

/** Of two measurements, the higher of each limit: noise only lowers them. */
export function highest(a, b) {
  if (!a || !b) return a ?? b;
  return Object.fromEntries(Object.keys(a).map((name) => [name, a[name] === null ? null : Math.max(a[name], b[name])]));
}

/**
 * Seconds that a batch takes at least when every row is scanned once as 8-bit codes (float32 where the processor has no
 * 8-bit products): the larger of reading and computing. A search that skips rows can be faster.
 */
export function floorSeconds(limits, { rows, dimensions, batch }) {
  const eight = limits.int8OperationsPerSecond !== null;
  const bytes = rows * dimensions * (eight ? 1 : 4);
  const rate = eight ? limits.int8OperationsPerSecond : limits.float32OperationsPerSecond;
  return Math.max(bytes / limits.readBytesPerSecond, (2 * rows * dimensions * batch) / rate);
}
