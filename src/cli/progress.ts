/** Progress on standard error: one line that is written over on a terminal, a line a stage elsewhere. */
import type { ProgressListener } from '../types.js';

interface Stream {
  write(text: string): unknown;
  isTTY?: boolean | undefined;
}

/** The least time between two updates, in milliseconds. */
const INTERVAL = 100;

export function progressLine(stream: Stream): { listener: ProgressListener; clear(): void } {
  let last = 0;
  let stage = '';
  let dirty = false;
  return {
    listener: (progress) => {
      const now = Date.now();
      const turned = progress.stage !== stage;
      if (!turned && (!stream.isTTY || now - last < INTERVAL)) return;
      last = now;
      stage = progress.stage;
      if (stream.isTTY) {
        const share = progress.total > 0 ? ` ${Math.floor((100 * progress.done) / progress.total)}%` : '';
        stream.write(`\r\x1b[K${stage}${share}`);
        dirty = true;
      } else {
        stream.write(`${stage}\n`);
      }
    },
    clear: () => {
      if (dirty) stream.write('\r\x1b[K');
      dirty = false;
    },
  };
}
