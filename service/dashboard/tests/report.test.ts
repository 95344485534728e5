// The script of the load generator's report: what it computes without a browser.

import { describe, expect, it } from 'vitest';
import { logRange, logSplits } from '../report/src/axes';
import { clock, count, figure, micros, microsTick, plain } from '../report/src/format';
import { Span } from '../report/src/span';
import { held } from '../report/src/timeline';

describe('figures', () => {
  it('are written as in the rest of the report', () => {
    expect([count(1_234_567), plain(99.94), plain(0.4), plain(1_200.4)]).toEqual(['1,234,567', '99.9', '0.4', '1,200']);
    expect([micros(350), micros(1_234), micros(99_950), micros(1_500_000), micros(12_340_000)]).toEqual([
      '350 µs',
      '1.2 ms',
      '100 ms',
      '1.50 s',
      '12.3 s',
    ]);
    expect([microsTick(10_000), microsTick(2_000_000)]).toEqual(['10 ms', '2 s']);
    expect([clock(40), clock(120), clock(125), clock(3_725)]).toEqual(['40 s', '2 min', '2 min 5 s', '1 h 2 min 5 s']);
    expect([figure('rate', 12), figure('latency', 12), figure('level', 12)]).toEqual(['12/s', '12 µs', '12']);
  });
});

describe('a logarithmic axis', () => {
  it('ends at round values that enclose what was measured', () => {
    expect(logRange(130, 1_800)).toEqual([100, 2_000]);
    expect(logRange(100, 100)).toEqual([100, 1_000]);
  });

  it('has few marks', () => {
    expect(logSplits(100, 2_000)).toEqual([100, 200, 500, 1_000, 2_000]);
    expect(logSplits(100, 1_000_000)).toEqual([100, 1_000, 10_000, 100_000, 1_000_000]);
  });
});

describe('the span of time that is shown', () => {
  it('stays within the run, whatever is asked for', () => {
    const span = new Span(100);
    const seen: [number, number][] = [];
    span.follow((from, to) => seen.push([from, to]));
    span.show(-20, 10);
    expect(span.range()).toEqual([0, 30]);
    span.show(90, 140);
    expect(span.range()).toEqual([50, 100]);
    expect(span.isZoomed()).toBe(true);
    span.zoom(1_000, 70);
    expect(span.range()).toEqual([0, 100]);
    expect(span.isZoomed()).toBe(false);
    expect(seen).toHaveLength(3);
  });

  it('zooms around the cursor, and no closer than can be seen', () => {
    const span = new Span(100);
    span.zoom(0.5, 20);
    expect(span.range()).toEqual([10, 60]);
    span.zoom(0.001, 20);
    expect(span.range()[1] - span.range()[0]).toBe(3);
    span.centre(99);
    expect(span.range()).toEqual([97, 100]);
    span.all();
    expect(span.range()).toEqual([0, 100]);
  });
});

it('a step holds until its end, also before a gap', () => {
  expect(held([1, 2])).toEqual([1, 2, 2]);
  expect(held([1, null, null, 4, null, 6])).toEqual([1, 1, null, 4, 4, 6, 6]);
  expect(held([])).toEqual([null]);
});
