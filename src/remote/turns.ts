/** At most so many at a time; who waits is served in the order of coming. */
import { aborted } from './patience.js';

export class Turns {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  /** @throws PointsmanError ABORTED while waiting, and what `body` throws */
  async take<T>(body: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    await this.#turn(signal);
    try {
      return await body();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free++;
    }
  }

  async #turn(signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted) throw aborted(signal);
    if (this.#free > 0) {
      this.#free--;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const stop = () => {
        this.#waiting.splice(this.#waiting.indexOf(go), 1);
        reject(aborted(signal));
      };
      const go = () => {
        signal?.removeEventListener('abort', stop);
        resolve();
      };
      this.#waiting.push(go);
      signal?.addEventListener('abort', stop, { once: true });
    });
  }
}
