import { expect, test } from 'vitest';
import type { Snapshot } from '../src/api/types';
import { figuresOf } from '../src/page/figures';

test('every figure is told by its name, also one that no page was written for', () => {
  const snapshot = {
    atMs: 1,
    counters: { admitted: 12_345, discarded: 3, failed: { out_of_range: 1_234, conflict: 5 }, failedByApplicant: [{ applicant: 'a@example.org', count: 7 }] },
    gauges: { oldestWaitingMs: 4_200, paused: false },
    latencyUs: { admit: { count: 9, p50: 820, p999: 4_200 } },
    redis: { up: true, version: '7.0.15', usedMemoryBytes: 5_300_000, note: '' },
  } as unknown as Snapshot;
  const told = figuresOf(snapshot).flatMap(({ title, figures }) => figures.map(({ name, value }) => `${title}|${name}|${value}`));
  expect(told).toEqual([
    'Counters|Admitted|12,345',
    'Counters|Discarded|3',
    'Counters: failed|Out of range|1,234',
    'Counters: failed|Conflict|5',
    'Gauges|Oldest waiting|4.2 s',
    'Gauges|Paused|no',
    'Latency: admit|Count|9',
    'Latency: admit|p50|820 µs',
    'Latency: admit|p99.9|4.2 ms',
    'Redis|Up|yes',
    'Redis|Version|7.0.15',
    'Redis|Used memory|5.3 MB',
  ]);
});
