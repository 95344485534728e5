import { expect, test } from 'vitest';
import type { Snapshot } from '../src/api/types';
import { initialState, type LiveState } from '../src/live/store';
import { titleOf } from '../src/page/title';

const well = { redis: { up: true }, mongodb: { up: true }, gauges: { paused: false }, rates: { admitted: 512.3 } };
const state = (more: object, phase: 'live' | 'stale' = 'live'): LiveState => ({ ...initialState, connection: { phase }, snapshot: { ...well, ...more } as unknown as Snapshot });

test('the title tells the worst that is wrong, and the rate when all is well', () => {
  expect(titleOf(initialState)).toBe('Sluice');
  expect(titleOf(state({}))).toBe('512/s – Sluice');
  expect(titleOf(state({ gauges: { paused: true } }))).toBe('Paused – Sluice');
  expect(titleOf(state({ mongodb: { up: false }, gauges: { paused: true } }))).toBe('MongoDB is down – Sluice');
  expect(titleOf(state({ redis: { up: false } }))).toBe('Redis is down – Sluice');
  expect(titleOf(state({ redis: { up: false } }, 'stale'))).toBe('Disconnected – Sluice');
});
