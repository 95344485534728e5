import { describe, expect, test } from 'vitest';
import type { Point, Snapshot } from '../src/api/types';
import { gaps, GAP_STEPS, LiveTail, lowerBound, ROWS_MAX, Series, sum } from '../src/live/series';

function point(second: number, admitted: number, more: Partial<Point> = {}): Point {
  return {
    atMs: second * 1000,
    received: admitted,
    admitted,
    processed: admitted,
    recorded: admitted,
    failed: 0,
    queueDepth: 0,
    inFlight: 0,
    unrecorded: 0,
    workers: 1,
    admitP50Us: 500,
    admitP99Us: 1_000,
    endToEndP50Us: 0,
    endToEndP99Us: 0,
    ...more,
  };
}

function snapshot(atMs: number, admitted: number, rate: number): Snapshot {
  const latency = { count: 1, p50: 500, p90: 500, p99: 1_000, p999: 1_000, max: 1_000 };
  return {
    atMs,
    counters: { admitted, processed: admitted, recordedLoans: admitted, recordedFailures: 0, failed: {} },
    gauges: { queueDepth: 0, inFlight: 0, unrecorded: 0, workers: 1 },
    rates: { admitted: rate, processed: rate, recorded: rate },
    recentLatencyUs: { admit: latency, endToEnd: latency },
  } as unknown as Snapshot;
}

const seconds = (series: Series) => Array.from(series.times);
const column = (series: Series, name: Parameters<Series['column']>[0]) => Array.from(series.column(name));

describe('Series', () => {
  test('rates are changes of the counters', () => {
    const series = new Series();
    series.merge([point(10, 100), point(11, 150), point(13, 250)]);
    expect(column(series, 'admittedRate')).toEqual([0, 50, 50]);
  });

  test('a counter that falls is a new beginning, not a negative rate', () => {
    const series = new Series();
    series.merge([point(10, 1_000), point(11, 5)]);
    expect(column(series, 'admittedRate')).toEqual([0, 0]);
  });

  test('rows that are not newer are dropped', () => {
    const series = new Series();
    expect(series.push({ at: 10, values: {} })).toBe(true);
    expect(series.push({ at: 10, values: {} })).toBe(false);
    expect(series.push({ at: 9, values: {} })).toBe(false);
    expect(series.length).toBe(1);
  });

  test('memory is bounded, and the newest rows stay, in order', () => {
    const series = new Series();
    const buffer = series.times.buffer;
    const rows = 10 * ROWS_MAX + 7;
    for (let second = 1; second <= rows; second += 1) series.push({ at: second, values: { admitted: second * 3, queueDepth: second } });
    expect(series.length).toBe(ROWS_MAX);
    expect(series.times.buffer).toBe(buffer);
    expect(seconds(series)).toEqual(Array.from({ length: ROWS_MAX }, (_, index) => rows - ROWS_MAX + 1 + index));
    expect(column(series, 'queueDepth')).toEqual(seconds(series));
    expect(new Set(column(series, 'admittedRate'))).toEqual(new Set([3]));
  });

  test('history fills a gap, and what it does not reach stays', () => {
    const series = new Series();
    series.merge([point(1, 10), point(2, 20)]);
    series.push({ at: 9, values: { admitted: 90 } });
    series.merge([point(4, 40), point(5, 50), point(6, 60)]);
    expect(seconds(series)).toEqual([1, 2, 4, 5, 6, 9]);
    expect(column(series, 'admittedRate')).toEqual([0, 10, 10, 10, 10, 10]);
  });

  test('history wins where it reaches', () => {
    const series = new Series();
    series.merge([point(1, 1), point(2, 2), point(3, 3)]);
    series.merge([point(2, 20), point(3, 30)]);
    expect(column(series, 'admitted')).toEqual([1, 20, 30]);
  });

  test('a latency of nothing is unknown, not zero', () => {
    const series = new Series();
    series.merge([point(1, 1, { admitP99Us: 0 }), point(2, 2)]);
    expect(column(series, 'admitP99')).toEqual([Number.NaN, 1_000]);
  });

  test("a client's latency lands in its second, before or after the row, and outlives a merge", () => {
    const series = new Series();
    series.merge([point(1, 1), point(2, 2), point(3, 3)]);
    series.addClientLatency({ at: 2.2, p50: 7, p99: 9 });
    expect(column(series, 'clientP99')).toEqual([9, 9, Number.NaN]);
    series.addClientLatency({ at: 3.9, p50: 8, p99: 11 });
    series.push({ at: 4, values: {} });
    expect(column(series, 'clientP99').slice(2)).toEqual([11, 11]);
    series.merge([point(2, 2), point(3, 3)]);
    expect(column(series, 'clientP99')).toEqual([9, 9, 11, 11]);
    // A second that history does not have takes its latency along.
    series.merge([point(2, 2), point(30, 30)]);
    expect(column(series, 'clientP99')).toEqual([9, 9, Number.NaN]);
  });

  test('the nearest row', () => {
    const series = new Series();
    series.merge([point(10, 1), point(20, 2), point(30, 3)]);
    for (const [at, index] of [[0, 0], [14, 0], [16, 1], [30, 2], [99, 2]] as const) expect(series.nearest(at)).toBe(index);
  });
});

describe('LiveTail', () => {
  test('rows stay a second apart, and the newest follows each snapshot', () => {
    const series = new Series();
    const tail = new LiveTail(series);
    for (let tick = 0; tick <= 25; tick += 1) tail.add(snapshot(10_000 + tick * 200, tick * 100, 500));
    expect(seconds(series)).toEqual([10, 11, 12, 13, 14, 15]);
    expect(column(series, 'admittedRate').slice(1)).toEqual([500, 500, 500, 500, 500]);
    tail.add(snapshot(15_200, 2_600, 480));
    tail.add(snapshot(15_400, 2_700, 490));
    expect(seconds(series).slice(-2)).toEqual([15, 15.4]);
    expect(column(series, 'admittedRate').at(-1)).toBe(490);
  });

  test('it goes on after history was merged', () => {
    const series = new Series();
    const tail = new LiveTail(series);
    series.merge([point(10, 100), point(11, 200)]);
    tail.reset();
    tail.add(snapshot(11_200, 220, 100));
    tail.add(snapshot(10_800, 190, 100));
    tail.add(snapshot(12_000, 300, 100));
    expect(seconds(series)).toEqual([10, 11, 12]);
    expect(column(series, 'admittedRate')).toEqual([0, 100, 100]);
  });
});

describe('gaps', () => {
  const times = Float64Array.from([1, 2, 3, 3 + GAP_STEPS + 1, 8]);

  test('where no row was for too long', () => {
    expect(gaps(times, null, 0, 4)).toEqual([[2, 3]]);
  });

  test('where a value is missing for too long, and at the begin', () => {
    const hole = Number.NaN;
    const even = Float64Array.from([0, 1, 2, 3, 4, 5, 6, 7, 8]);
    expect(gaps(even, Float64Array.from([1, hole, 2, 3, 4, 5, 6, 7, 8]), 0, 8)).toEqual([]);
    expect(gaps(even, Float64Array.from([hole, hole, 2, 3, 4, 5, 6, 7, 8]), 0, 8)).toEqual([[0, 2]]);
    expect(gaps(even, Float64Array.from([1, 2, hole, hole, hole, 5, 6, 7, 8]), 0, 8)).toEqual([[1, 5]]);
    expect(gaps(even, Float64Array.from([1, 2, 3, 4, hole, hole, hole, hole, hole]), 0, 8)).toEqual([[3, 8]]);
    expect(gaps(even, new Float64Array(9).fill(hole), 0, 8)).toEqual([[0, 8]]);
  });
});

test('lowerBound finds the first that is not less', () => {
  const sorted = Float64Array.from([1, 3, 3, 5]);
  for (const [value, index] of [[0, 0], [1, 0], [2, 1], [3, 1], [4, 3], [6, 4]] as const) expect(lowerBound(sorted, value)).toBe(index);
  expect(lowerBound(new Float64Array(0), 1)).toBe(0);
});

test('sum', () => expect([sum([]), sum([1, 2, 3])]).toEqual([0, 6]));
