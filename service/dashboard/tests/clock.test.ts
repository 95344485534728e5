import { describe, expect, test } from 'vitest';
import type { LiveEvent, Snapshot } from '../src/api/types';
import { inOrder, ServiceClock } from '../src/live/clock';
import { Series } from '../src/live/series';
import { shifted } from '../src/live/store';

const HOUR = 3_600_000;
/** A service that came up at `bootMs` of its wall clock. */
const told = (bootMs: number, uptimeMs: number, instance = 'a'): Pick<Snapshot, 'instance' | 'atMs' | 'uptimeSeconds'> => ({ instance, atMs: bootMs + uptimeMs, uptimeSeconds: uptimeMs / 1_000 });

describe("the service's clock", () => {
  test('is as it arrives earliest, and slips slowly', () => {
    const clock = new ServiceClock();
    expect(clock.see(told(0, 1_000), 900)).toBe(0);
    expect(clock.at(900)).toBe(1_000);
    clock.see(told(0, 1_200), 1_180);
    expect(clock.at(0)).toBeCloseTo(99.2);
    clock.see(told(0, 1_400), 1_295);
    expect(clock.at(0)).toBe(105);
  });

  test.each([HOUR, -HOUR, 2_000, -2_000, 700, -700])('that was set by %i ms is followed with the next snapshot', (byMs) => {
    const clock = new ServiceClock();
    clock.see(told(10 * HOUR, 1_000), 50);
    expect(clock.see(told(10 * HOUR + byMs, 1_200), 250)).toBe(byMs);
    expect(clock.at(250)).toBe(10 * HOUR + byMs + 1_200);
    expect(clock.see(told(10 * HOUR + byMs, 1_400), 450)).toBe(0);
  });

  test('that is slewed, or heard of late, was not set', () => {
    const clock = new ServiceClock();
    clock.see(told(HOUR, 0), 0);
    // Ten minutes at 500 millionths, in a page that was hidden meanwhile.
    expect(clock.see(told(HOUR + 300, 600_000), 600_000)).toBe(0);
    // Half a minute on the way.
    expect(clock.see(told(HOUR + 300, 600_200), 630_000)).toBe(0);
    expect(clock.see(told(HOUR + 300, 630_000), 630_010)).toBe(0);
  });

  test('of a machine that slept shows that time has passed', () => {
    const clock = new ServiceClock();
    clock.see(told(HOUR, 1_000), 1_000);
    // Its uptime stood still; the page, elsewhere, waited for it.
    expect(clock.see(told(HOUR + 600_000, 1_200), 601_200)).toBe(0);
  });

  test('of another instance may lie behind, and time goes on between two', () => {
    const clock = new ServiceClock();
    clock.see(told(HOUR, 60_000), 60_000);
    // An outage of five minutes is one.
    expect(clock.see(told(HOUR + 355_000, 5_000, 'b'), 60_500)).toBe(0);
    expect(clock.see(told(HOUR - 600_000, 7_000, 'c'), 61_000)).toBe(-953_500 - 0);
  });
});

describe('a history', () => {
  const points = { apartMs: 1_000, slackMs: 0 };

  test('over which the clock was set back stays in its order', () => {
    const times = [7_000, 8_001, 8_999, 3_000, 4_000].map((at) => at + HOUR);
    expect(inOrder(times, Infinity, points).map((at) => at - HOUR)).toEqual([1, 1_002, 2_000, 3_000, 4_000]);
    // And twice.
    expect(inOrder([9_000, 5_000, 5_000], Infinity, points)).toEqual([3_000, 4_000, 5_000]);
  });

  test('in its order is left as it is, gaps and all', () => {
    const times = [1_000, 1_990, 60_000, 61_003];
    expect(inOrder(times, Infinity, points)).toEqual(times);
    // Instances hear of each other's events a little late.
    expect(inOrder([5_000, 4_100, 6_000], 6_000, { apartMs: 0, slackMs: 2_000 })).toEqual([5_000, 4_100, 6_000]);
  });

  test('ends now at the latest', () => expect(inOrder([8_000, 9_000], 2_000, { apartMs: 0, slackMs: 2_000 })).toEqual([1_000, 2_000]));
});

test('rows move along and stay a second apart', () => {
  const series = new Series();
  for (let at = 0; at < 10; at += 1) series.push({ at: 5_000 + at, values: { admitted: at * 7 } });
  series.shift(-3_600);
  series.push({ at: 1_410, values: { admitted: 70 } });
  expect([...series.times]).toEqual(Array.from({ length: 11 }, (_, index) => 1_400 + index));
  expect([...series.column('admittedRate')].slice(1)).toEqual(Array.from({ length: 10 }, () => 7));
});

test('events move along, but for what the new clock told already', () => {
  const event = (atMs: number, to: number): LiveEvent => ({ atMs, kind: 'scale', instance: 'i', from: 1, to, reason: 'more loans' });
  const settled = [event(10 * HOUR - 60_000, 2), event(9 * HOUR, 3)];
  const fresh = event(9 * HOUR - 100, 4);
  const moved = shifted([...settled, fresh], settled, -HOUR, 9 * HOUR);
  expect(moved).toEqual([event(8 * HOUR, 3), event(9 * HOUR - 60_000, 2), fresh]);
});
