/** The parts of the benchmarks that can be wrong without being slow; nothing here is timed. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { makeData } from '../bench/data.mjs';
import { Histogram } from '../bench/histogram.mjs';
import { floorSeconds, highest } from '../bench/limits.mjs';
import { readOptions, UsageError } from '../bench/options.mjs';
import { apart, plot } from '../bench/plot.mjs';
import { overlap } from '../bench/rounds.mjs';
import { gaussian } from '../bench/synthetic.mjs';
import { Random } from '../src/random.js';

const scratch = mkdtempSync(join(tmpdir(), 'pointsman-bench-test-'));
afterAll(() => rmSync(scratch, { recursive: true }));

describe('histogram', () => {
  it('keeps quantiles within its relative error, over nine orders of magnitude', () => {
    const random = new Random(1);
    const histogram = new Histogram(7);
    const values = Array.from({ length: 20_000 }, () => Math.round(10 ** (9 * random.uniform())));
    for (const value of values) histogram.record(value);
    values.sort((a, b) => a - b);
    for (const share of [0, 0.01, 0.5, 0.95, 0.99, 0.999, 1]) {
      const exact = values[Math.max(1, Math.ceil(share * values.length)) - 1] as number;
      expect(Math.abs(histogram.quantile(share) - exact)).toBeLessThanOrEqual(exact / 128);
    }
    expect(histogram.count).toBe(values.length);
    expect(histogram.min).toBe(values[0]);
    expect(histogram.max).toBe(values.at(-1));
    expect(histogram.mean).toBeCloseTo(values.reduce((sum, x) => sum + x, 0) / values.length, 3);
  });

  it('tells small integers and the edges of buckets apart', () => {
    for (const value of [0, 1, 2, 3, 4, 7, 8, 15, 16, 17, 2 ** 31, 2 ** 32 - 1, 2 ** 53 - 1]) {
      const histogram = new Histogram(3);
      histogram.record(value);
      expect(histogram.quantile(0.5)).toBe(value);
      expect(histogram.steps().reduce((sum: number, step: number[]) => sum + (step[1] as number), 0)).toBe(1);
    }
  });

  it('adds another as if its values had been recorded', () => {
    const [a, b, all] = [new Histogram(), new Histogram(), new Histogram()];
    for (let i = 0; i < 1000; i++) {
      (i % 3 === 0 ? a : b).record(i * i);
      all.record(i * i);
    }
    a.add(b);
    expect(a.summary()).toEqual(all.summary());
    expect(a.steps()).toEqual(all.steps());
    expect(() => a.add(new Histogram(3))).toThrow(RangeError);
  });

  it('refuses what is no latency, and knows nothing when empty', () => {
    const histogram = new Histogram();
    for (const value of [-1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 54]) expect(() => histogram.record(value)).toThrow(RangeError);
    expect(histogram.quantile(0.5)).toBeNaN();
    expect(histogram.count).toBe(0);
  });
});

describe('plot', () => {
  const series = [
    {
      name: 'a < b & "c"',
      points: [
        [1, 10],
        [16, 200],
        [1024, 3000],
      ],
    },
    {
      name: 'limit',
      dashed: true,
      points: [
        [1, 300],
        [1024, 4000],
      ],
    },
    { name: 'nothing', points: [[1, 0]] },
  ]; // prettier-ignore
  const svg: string = plot({ title: 'Top-10 <search>', subtitle: 'x & y', x: 'batch', y: 'q/s', series });

  it('is well-formed', () => {
    const open: string[] = [];
    const body = svg.replace(/<\?xml[^?]*\?>/, '').replace(/<style>[\s\S]*?<\/style>/, '');
    for (const [, close, name, attributes, selfClosed] of body.matchAll(/<(\/?)([a-z]+)((?:\s+[a-zA-Z:-]+="[^"<]*")*)\s*(\/?)>/g)) {
      if (close) expect(open.pop()).toBe(name);
      else if (!selfClosed) open.push(name as string);
      expect(attributes).not.toContain('NaN');
    }
    expect(open).toEqual([]);
    // Whatever is not a tag has no angle bracket, and every ampersand begins a reference.
    const text = body.replace(/<\/?[a-z]+(?:\s+[a-zA-Z:-]+="[^"<]*")*\s*\/?>/g, '');
    expect(text).not.toMatch(/[<>]/);
    expect(text).not.toMatch(/&(?!#\d+;)/);
  });

  it('draws each series with a positive point, rising values upwards', () => {
    const lines = [...svg.matchAll(/<polyline class="([^"]*)" points="([^"]*)"/g)];
    expect(lines).toHaveLength(2);
    expect(lines.filter(([, kind]) => kind?.includes('dashed'))).toHaveLength(1);
    const solid = lines.find(([, kind]) => !kind?.includes('dashed'))?.[2] as string;
    const heights = solid.split(' ').map((point) => Number(point.split(',')[1]));
    expect(heights).toEqual([...heights].sort((a, b) => b - a));
    expect(svg).toContain('prefers-color-scheme:dark');
    expect(svg).not.toContain('nothing');
    expect(() => plot({ title: '', x: '', y: '', series: [{ name: 'a', points: [] }] })).toThrow(RangeError);
  });

  it('pushes labels apart, in order and within bounds', () => {
    expect(apart([10, 100, 101, 102], 20, 0, 200)).toEqual([10, 100, 120, 140]);
    expect(apart([195, 198, 200], 20, 0, 200)).toEqual([160, 180, 200]);
  });
});

describe('data', () => {
  const asked = { rows: 10_000, dimensions: 31, queryCount: 5, seed: 7 };

  it.each(['iid', 'clustered'])('%s: the same seed gives the same numbers on any number of threads', async (kind) => {
    const one = await makeData({ ...asked, kind, threads: 1 });
    const three = await makeData({ ...asked, kind, threads: 3 });
    expect(three.rows).toEqual(one.rows);
    expect(three.queries).toEqual(one.queries);
    const shorter = await makeData({ ...asked, kind, rows: 5000, threads: 2 });
    expect(shorter.rows).toEqual(one.rows.subarray(0, 5000 * 31));
    const other = await makeData({ ...asked, kind, rows: 10, seed: 8 });
    expect(other.rows).not.toEqual(one.rows.subarray(0, 310));
    expect(one.queries).not.toEqual(one.rows.subarray(0, 155));
    expect(one.rows.every(Number.isFinite)).toBe(true);
  });

  it('draws standard normal numbers, tails included', () => {
    const normal = gaussian(new Random(3));
    const n = 400_000;
    let [sum, squares, fourth, beyond] = [0, 0, 0, 0];
    for (let i = 0; i < n; i++) {
      const x = normal();
      sum += x;
      squares += x * x;
      fourth += x ** 4;
      if (Math.abs(x) > 3.442619855899) beyond += 1;
    }
    expect(Math.abs(sum / n)).toBeLessThan(5 / Math.sqrt(n));
    expect(Math.abs(squares / n - 1)).toBeLessThan(5 * Math.sqrt(2 / n));
    expect(Math.abs(fourth / n - 3)).toBeLessThan(5 * Math.sqrt(96 / n));
    expect(Math.abs(beyond - 5.762e-4 * n)).toBeLessThan(5 * Math.sqrt(5.762e-4 * n));
  });
});

describe('limits', () => {
  const limits = { readBytesPerSecond: 1e9, int8OperationsPerSecond: 1e12, float32OperationsPerSecond: 1e11 };
  const search = { rows: 1_000_000, dimensions: 100 };

  it('is the larger of reading and computing', () => {
    expect(floorSeconds(limits, { ...search, batch: 1 })).toBeCloseTo(0.1, 9); // 100 MB
    expect(floorSeconds(limits, { ...search, batch: 1, bytesPerRow: 50 })).toBeCloseTo(0.05, 9);
    expect(floorSeconds(limits, { ...search, batch: 10_000 })).toBeCloseTo(2, 9); // 2e12 operations
    expect(floorSeconds({ ...limits, int8OperationsPerSecond: null }, { ...search, batch: 1 })).toBeCloseTo(0.4, 9);
    expect(floorSeconds({ ...limits, int8OperationsPerSecond: null }, { ...search, batch: 10_000 })).toBeCloseTo(20, 9);
  });

  it('keeps the higher of two measurements', () => {
    expect(highest({ a: 1, b: null, c: 'x' }, { a: 2, b: null, c: 'x' })).toEqual({ a: 2, b: null, c: 'x' });
    expect(highest(undefined, limits)).toBe(limits);
  });
});

describe('command', () => {
  it('counts each id that was found once', () => {
    expect(overlap(new Uint32Array([1, 2, 3, 4]), new Uint32Array([2, 2, 9, 4]), 2, 2)).toBe(0.5);
  });

  it('reads options and refuses wrong ones', () => {
    const spec = { k: ['integers', '10', 1, 4096], seconds: ['number', '0.25', 0, 60] };
    expect(readOptions(['--k', '1,10,10'], spec)).toMatchObject({ k: [1, 10], seconds: 0.25, help: false });
    for (const args of [['--k', '0'], ['--k', '1,x'], ['--k', ''], ['--seconds', '61'], ['--nothing'], ['stray']]) {
      expect(() => readOptions(args, spec)).toThrow(UsageError);
    }
  });

  it('runs from end to end', () => {
    const json = join(scratch, 'search.json');
    const main = fileURLToPath(new URL('../bench/main.mjs', import.meta.url));
    const args = '--rows 4096 --dims 8,31 --k 3,10 --batch 1,4 --peers none --rounds 1 --seconds 0 --limits none'.split(' ');
    const { status, stdout, stderr } = spawnSync(process.execPath, [main, 'search', ...args, '--json', json], { encoding: 'utf8' });
    expect(stderr).toContain('written:');
    expect(status).toBe(0);
    expect(stdout).toContain('Over k');
    expect(stdout).toContain('Over dimensions');
    const report = JSON.parse(readFileSync(json, 'utf8'));
    expect(report.runs.map((run: { dimensions: number }) => run.dimensions)).toEqual([8, 31]);
    for (const run of report.runs) {
      expect(run.results).toHaveLength(4);
      for (const result of run.results) expect(result).toMatchObject({ contender: 'pointsman', recall: 1 });
    }
    expect(readFileSync(join(scratch, 'search-d31-k10.svg'), 'utf8')).toContain('</svg>');
  });

  it.each([
    [['search', '--peers', 'nobody'], 2],
    [['search', '--rows', 'x'], 2],
    [['search', '--data', 'absent.npy'], 1],
    [['nothing'], 2],
  ])('%j ends with %i', (args, expected) => {
    const main = fileURLToPath(new URL('../bench/main.mjs', import.meta.url));
    const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' });
    expect(status).toBe(expected);
    expect(`${stdout}${stderr}`).not.toContain('    at ');
  });
});
