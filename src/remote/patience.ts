/**
 * When to ask again: exponential backoff with full jitter (Brooker, "Exponential Backoff And Jitter", 2015), so that
 * clients that failed together do not come back together, and never before a server's Retry-After.
 */
import { PointsmanError } from '../errors.js';
import { Random } from '../random.js';

export interface PatienceOptions {
  /** How often a request that failed is sent again, 0–100. Default 5. */
  retries?: number | undefined;
  /** Milliseconds: the first pause is drawn from 0 to this, each later one from twice as much. Default 500. */
  backoff?: number | undefined;
  /** Of the jitter. The same seed draws the same pauses. Default 0. */
  seed?: number | undefined;
}

/** Milliseconds: no pause of ours is longer, and a server that asks for more is not waited for. */
const LONGEST_BACKOFF = 60_000;
const LONGEST_RETRY_AFTER = 600_000;

export class Patience {
  readonly retries: number;
  readonly #backoff: number;
  readonly #random: Random;

  /** @throws PointsmanError BAD_ARGUMENT */
  constructor({ retries = 5, backoff = 500, seed = 0 }: PatienceOptions) {
    if (!Number.isInteger(retries) || retries < 0 || retries > 100) {
      throw new PointsmanError('BAD_ARGUMENT', `retries must be an integer from 0 to 100, not ${String(retries)}`);
    }
    if (!(typeof backoff === 'number' && backoff >= 0 && backoff <= LONGEST_BACKOFF)) {
      throw new PointsmanError('BAD_ARGUMENT', `backoff must be 0 to ${LONGEST_BACKOFF} milliseconds, not ${String(backoff)}`);
    }
    if (!Number.isSafeInteger(seed)) throw new PointsmanError('BAD_ARGUMENT', `seed must be an integer, not ${String(seed)}`);
    this.retries = retries;
    this.#backoff = backoff;
    this.#random = new Random(seed);
  }

  /** The pause before the attempt after `failures` failed ones, in milliseconds. */
  pause(failures: number): number {
    return this.#random.uniform() * Math.min(LONGEST_BACKOFF, this.#backoff * 2 ** (failures - 1));
  }
}

/** The milliseconds of a Retry-After header (RFC 9110, 10.2.3: seconds or a date); undefined where there is none that means anything. */
export function retryAfter(header: string | null, now = Date.now()): number | undefined {
  if (header === null) return undefined;
  const seconds = /^\s*\d+(\.\d+)?\s*$/.test(header) ? Number(header) : (Date.parse(header) - now) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, seconds * 1000) : undefined;
}

/** Is it more than anybody waits for? */
export function tooLong(milliseconds: number): boolean {
  return milliseconds > LONGEST_RETRY_AFTER;
}

/** @throws PointsmanError ABORTED */
export function sleep(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(aborted(signal));
    const stop = () => {
      clearTimeout(timer);
      reject(aborted(signal));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener('abort', stop, { once: true });
  });
}

export function aborted(signal: AbortSignal | undefined): PointsmanError {
  return new PointsmanError('ABORTED', 'the request was aborted', { cause: signal?.reason });
}
