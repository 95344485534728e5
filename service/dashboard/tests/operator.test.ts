import { describe, expect, test } from 'vitest';
import { filterOf, type Task } from '../src/api/operator';
import { isOfDays, spanLabel, SPANS, spanTitle } from '../src/charts/window';
import { isOver, progressText } from '../src/control/progress';
import { refusal, whoIs } from '../src/control/session';
import { noFilters } from '../src/errors/filters';
import { pageToggled, SELECTED_MAX, toggled } from '../src/errors/selection';
import { gaps, Series } from '../src/live/series';

describe('rows', () => {
  test('are chosen one by one, and no more than a call may name', () => {
    const one = toggled(new Set(), 'A');
    expect([[...one], [...toggled(one, 'A')]]).toEqual([['A'], []]);
    const full = new Set(Array.from({ length: SELECTED_MAX }, (_, index) => String(index)));
    expect([toggled(full, 'A').size, toggled(full, '7').size, pageToggled(full, ['A', 'B']).size]).toEqual([SELECTED_MAX, SELECTED_MAX - 1, SELECTED_MAX]);
  });

  test('are chosen by the page, over pages', () => {
    const both = pageToggled(pageToggled(new Set(['A']), ['A', 'B']), ['C']);
    expect([...both]).toEqual(['A', 'B', 'C']);
    expect([...pageToggled(both, ['A', 'B'])]).toEqual(['C']);
  });
});

test('a filter asks for what is set, and for instants that mean the same everywhere', () => {
  const from = '2026-03-03T12:00';
  expect(filterOf(noFilters)).toEqual({});
  expect(filterOf({ ...noFilters, applicant: 'ada', from })).toEqual({ applicant: 'ada', from: new Date(from).toISOString() });
});

test('a task says how far it is', () => {
  const task: Task = { taskId: 't', kind: 'discard', phase: 'running', by: 'ada', startedAt: '', expected: 1_000_000, done: 12_345, skipped: 3, remaining: 987_652 };
  expect([progressText(task), isOver(task)]).toEqual(['12,345 of 1,000,000 discarded, 3 skipped', false]);
  // A kind that a later service adds.
  expect([progressText({ ...task, kind: 'forget' as Task['kind'], skipped: 0, phase: 'stopped' }), isOver({ ...task, phase: 'stopped' })]).toEqual(['12,345 of 999,997 done', true]);
});

test('a span has its name', () => {
  expect(SPANS.map(spanLabel)).toEqual(['1 min', '5 min', '30 min', '24 h', '7 d']);
  expect(SPANS.map(spanTitle)).toEqual(['Last minute', 'Last 5 minutes', 'Last 30 minutes', 'Last 24 hours', 'Last 7 days']);
  expect(SPANS.filter(isOfDays).map(spanLabel)).toEqual(['24 h', '7 d']);
});

test('days are rows a minute apart, and nothing is a gap that is shorter than three of them', () => {
  const point = (atMs: number, admitted: number) => ({ atMs, received: 0, admitted, processed: 0, recorded: 0, failed: 0, queueDepth: 0, inFlight: 0, unrecorded: 0, workers: 1, admitP50Us: 0, admitP99Us: 0, endToEndP50Us: 0, endToEndP99Us: 0 });
  const series = new Series();
  series.replace([point(60_000, 60), point(120_000, 180), point(240_000, 240)], 60);
  expect([...series.column('admittedRate')]).toEqual([0, 2, 0.5]);
  expect(gaps(series.times, null, 0, 2, series.stepSeconds)).toEqual([]);
  expect(gaps(series.times, null, 0, 2)).toHaveLength(2);
});

test('a viewer is told why nothing can be changed', () => {
  const viewer = { phase: 'viewer', token: 't', name: 'ada' } as const;
  expect(refusal(viewer)).toMatch(/role/);
  expect(whoIs(viewer)).toMatchObject({ name: 'ada' });
  expect(whoIs({ phase: 'anonymous', message: null })).toBeNull();
});
