import { describe, expect, test } from 'vitest';
import { marksNear, marksOf } from '../src/charts/marks';
import { calmTop, decades, decadeTicks, linearTicks, roundUp, timeStep } from '../src/charts/scale';
import { rangeAt, spanOfSearch, zoomBy, zoomTo, type View } from '../src/charts/window';

describe('scales', () => {
  test('round numbers', () => {
    for (const [value, round] of [[0, 1], [0.3, 0.5], [1, 1], [11, 20], [21, 25], [26, 50], [501, 1_000], [5_000, 5_000]] as const) {
      expect(roundUp(value)).toBeCloseTo(round);
    }
  });

  test('the top rises at once and falls late', () => {
    expect(calmTop(0, 10, 0)).toBe(10);
    expect(calmTop(480, 10, 10)).toBe(1_000);
    expect(calmTop(450, 10, 1_000)).toBe(500);
    expect(calmTop(470, 10, 1_000)).toBe(1_000);
    expect(calmTop(1_500, 10, 2_500)).toBe(2_500);
    expect(calmTop(2, 10, 1_000)).toBe(10);
  });

  test('decades', () => {
    expect(decades(450, 320_000)).toEqual([100, 1_000_000]);
    expect(decades(150, 200)).toEqual([100, 10_000]);
    expect(decadeTicks(100, 10_000_000, 9)).toEqual([100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000]);
    expect(decadeTicks(100, 1_000_000, 3)).toEqual([100, 10_000, 1_000_000]);
  });

  test('ticks', () => {
    expect(linearTicks(1_000, 4, true)).toEqual([0, 250, 500, 750, 1_000]);
    expect(linearTicks(5, 5, true)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(linearTicks(2, 5, true)).toEqual([0, 1, 2]);
    expect([timeStep(60, 1_200, 90), timeStep(1_800, 1_200, 90), timeStep(300, 200, 90), timeStep(86_400, 100, 90)]).toEqual([5, 300, 300, 86_400]);
  });
});

describe('the window', () => {
  const live: View = { mode: 'live', span: 300 };

  test('follows the time, or stands', () => {
    expect(rangeAt(live, 1_000)).toEqual([700, 1_000]);
    expect(rangeAt(zoomTo(live, 800, 850), 5_000)).toEqual([800, 850]);
  });

  test('is never shorter than five seconds', () => expect(rangeAt(zoomTo(live, 800, 801), 0)).toEqual([798, 803]));

  test('zooms around an instant, and out again to live', () => {
    const near = zoomBy(live, 1_000, 900, 0.5);
    expect(rangeAt(near, 0)).toEqual([800, 950]);
    expect(zoomBy(near, 1_000, 900, 2)).toEqual(live);
    expect(zoomBy(live, 1_000, 900, 2)).toBe(live);
  });

  test('stands in the address', () => {
    expect([spanOfSearch(''), spanOfSearch('?minutes=30'), spanOfSearch('?minutes=1'), spanOfSearch('?minutes=7')]).toEqual([300, 1_800, 60, 300]);
  });
});

test('marks say what happened', () => {
  const marks = marksOf([
    { atMs: 1_000, kind: 'scale', instance: 'i', from: 1, to: 3, reason: '150 loans' },
    { atMs: 2_000, kind: 'pause' },
    { atMs: 3_000, kind: 'run', runId: 'r', scenario: 's', marker: 'end', verdict: 'pass' },
    { atMs: 4_000, kind: 'retry', requeued: 3 },
  ]);
  expect(marks.map((mark) => mark.label)).toEqual(['workers 1 → 3: 150 loans', 'ingestion paused', 'run ends: pass']);
  expect(marksNear(marks, 2, 0.5).map((mark) => mark.kind)).toEqual(['pause']);
});
