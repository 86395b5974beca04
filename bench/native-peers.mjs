// The peers that are not npm packages, each a child process that answers commands over its standard input and output:
// bench/peers/openblas_peer.cpp tells them, and bench/peers/faiss_peer.py answers the same.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { endianness, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const TREE = 'build/peers';
export const RECALLS = [0.9, 0.95];

const PYTHONPATH = join(ROOT, 'build/peers-python');
const LIBRARIES = {
  openblas: {
    install: 'apt-get install libopenblas-dev',
    runs: () => run('cmake', ['-S', 'bench/peers', '-B', TREE]) && run('cmake', ['--build', TREE]),
  },
  faiss: {
    install: 'python3 -m pip install --target build/peers-python -r bench/peers/requirements.txt',
    runs: () => run('python3', ['-c', 'import faiss, threadpoolctl'], { PYTHONPATH }),
  },
};
const faiss = (peer, environment = {}) => ({
  command: ['python3', 'bench/peers/faiss_peer.py', peer],
  environment: { PYTHONPATH, ...environment },
});
// By the name that the user gives: the library it needs, and the processes it stands for.
const PEERS = {
  openblas: { library: 'openblas', processes: [{ command: [join(TREE, 'openblas_peer')], environment: {} }] },
  // Both of its settings: by default small batches and large ones go different ways.
  faiss: { library: 'faiss', processes: [faiss('faiss'), faiss('faiss-blas', { OMP_WAIT_POLICY: 'passive' })] },
  'faiss-ivf': { library: 'faiss', processes: [faiss('faiss-ivf')], approximate: true },
};
export const NATIVE_PEERS = Object.keys(PEERS);

/** Contenders (see contenders.mjs), of those that are installed; of the others one line is told. */
export async function startNativePeers(data, { threads, peers, say }) {
  const there = Object.entries(LIBRARIES).flatMap(([library, { install, runs }]) => {
    const own = peers.filter((peer) => PEERS[peer].library === library);
    if (own.length === 0 || runs()) return own;
    say(`SKIPPED ${own.join(', ')}: not installed, or it can't be built. ${install}`);
    return [];
  });
  if (there.length === 0) return [];

  const folder = mkdtempSync(join(tmpdir(), 'pointsman-bench-'));
  const running = [];
  try {
    const files = { rows: join(folder, 'rows'), queries: join(folder, 'queries') };
    for (const [name, path] of Object.entries(files)) writeValues(path, data[name]);
    for (const { name, command, environment, approximate = false } of there.flatMap((name) =>
      PEERS[name].processes.map((process) => ({ name, ...PEERS[name], ...process })),
    )) {
      say(`building ${name} …`);
      const words = [...command, files.rows, files.queries, String(data.dimensions), String(threads)];
      const peer = new NativePeer(words, environment, approximate);
      running.push(peer);
      await peer.ready();
    }
    return running.flatMap((peer) => (peer.approximate ? RECALLS.map((recall) => tuned(peer, recall)) : [peer]));
  } catch (error) {
    for (const peer of running) await peer.close();
    throw error;
  } finally {
    rmSync(folder, { recursive: true }); // each has its own copy of the rows, and the queries in memory or mapped
  }
}

/** Whether a command succeeds. */
function run(program, args, environment = {}) {
  try {
    execFileSync(program, args, { cwd: ROOT, env: { ...process.env, ...environment }, stdio: ['ignore', 'pipe', 'pipe'] });
    return true;
  } catch {
    return false;
  }
}

function writeValues(path, values) {
  const file = openSync(path, 'wx');
  try {
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at, Math.min(2 ** 28, bytes.length - at));
  } finally {
    closeSync(file);
  }
}

class NativePeer {
  #process;
  #chunks = [];
  #wake;
  #ended = false;

  constructor([program, ...args], environment, approximate) {
    // What tunes these libraries from outside would compare something else.
    const inherited = Object.entries(process.env).filter(([name]) => !/^(OPENBLAS|GOTO|OMP|GOMP|KMP|MKL|FAISS)_/.test(name));
    const env = { ...Object.fromEntries(inherited), ...environment };
    this.#process = spawn(program, args, { cwd: ROOT, env, stdio: ['pipe', 'pipe', 'inherit'] });
    this.#process.stdin.on('error', () => {}); // its end is seen on the other side
    this.#process.on('error', () => this.#end());
    this.#process.stdout.on('data', (chunk) => {
      this.#chunks.push(chunk);
      this.#wake?.();
    });
    this.#process.stdout.on('end', () => this.#end());
    this.program = [program, ...args].join(' ');
    this.approximate = approximate;
    this.exact = !approximate;
  }

  /** Waits until the index is built, and learns what runs. */
  async ready() {
    Object.assign(this, await this.#line());
  }

  async search(first, count, k, wantIds) {
    this.#process.stdin.write(`search ${first} ${count} ${k} ${wantIds ? 'ids' : 'quiet'}\n`);
    const { milliseconds } = await this.#line();
    return { milliseconds, ids: wantIds ? await this.#int32(count * k) : undefined };
  }

  async tune(nprobe, kFactor) {
    this.#process.stdin.write(`tune ${nprobe} ${kFactor}\n`);
    await this.#line();
  }

  async close() {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null || this.#process.pid === undefined) return;
    const exit = once(this.#process, 'exit');
    this.#process.stdin.end();
    await exit;
  }

  async #line() {
    for (;;) {
      if (this.#chunks.some((chunk) => chunk.includes(10))) {
        const all = Buffer.concat(this.#chunks);
        const end = all.indexOf(10);
        this.#chunks = [all.subarray(end + 1)];
        return JSON.parse(all.toString('latin1', 0, end));
      }
      await this.#more();
    }
  }

  async #int32(length) {
    while (this.#chunks.reduce((sum, chunk) => sum + chunk.length, 0) < 4 * length) await this.#more();
    const all = Buffer.concat(this.#chunks);
    this.#chunks = [all.subarray(4 * length)];
    if (endianness() !== 'LE') all.subarray(0, 4 * length).swap32();
    return new Int32Array(all.buffer.slice(all.byteOffset, all.byteOffset + 4 * length));
  }

  #more() {
    if (this.#ended) throw new Error(`${this.program} ended early`);
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #end() {
    this.#ended = true;
    this.#wake?.();
  }
}

const NPROBES = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512];
const K_FACTORS = [1, 2, 4, 8, 16, 32, 64];

/** An approximate peer, set to the fastest of its settings that reach this recall on the run's own queries. */
function tuned(peer, target) {
  let best;
  let set;
  return {
    name: `${peer.name}, recall ≥ ${target.toFixed(2)}`,
    version: peer.version,
    setting: peer.setting,
    exact: false,
    target,
    buildSeconds: peer.buildSeconds,
    bytesPerRow: peer.bytesPerRow,
    /** Tunes for this k: `recallOf(ids)` says which share of the exact results of all `count` queries they are. */
    async prepare(count, k, recallOf) {
      best = undefined;
      const measure = async (nprobe, kFactor) => {
        peer.current = undefined;
        await peer.tune(nprobe, kFactor);
        const { milliseconds, ids } = await peer.search(0, count, k, true);
        return { nprobe, kFactor, milliseconds, recall: recallOf(ids) };
      };
      for (const kFactor of K_FACTORS) {
        // Recall rises with nprobe: the least that suffices, by bisection.
        let low = 0;
        let high = NPROBES.length;
        let found;
        while (low < high) {
          const middle = (low + high) >> 1;
          const result = await measure(NPROBES[middle], kFactor);
          if (result.recall >= target) {
            high = middle;
            found = result;
          } else {
            low = middle + 1;
          }
        }
        if (found && !(found.milliseconds >= best?.milliseconds)) best = found;
      }
      // Out of reach: its most thorough setting, whose recall the report tells.
      best ??= await measure(NPROBES.at(-1), K_FACTORS.at(-1));
      set = `${best.nprobe} ${best.kFactor}`;
      return { nprobe: best.nprobe, kFactor: best.kFactor, recall: best.recall };
    },
    async search(first, count, k, wantIds) {
      if (peer.current !== set) await peer.tune(best.nprobe, best.kFactor);
      peer.current = set;
      return peer.search(first, count, k, wantIds);
    },
    close: () => peer.close(),
  };
}
