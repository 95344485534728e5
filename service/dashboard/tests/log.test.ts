import { describe, expect, test } from 'vitest';
import type { Failure } from '../src/api/types';
import { filtersOf, isFiltered, matches, noFilters, queryOf, searchWith } from '../src/errors/filters';
import { initialLog, keyOf, mayFollow, reduceLog, type LogAction, type LogState } from '../src/errors/log';

const failure = (loanId: string, attempt = 1): Failure => ({
  loanId,
  attempt,
  errorType: 'out_of_range',
  faults: [],
  receivedAt: '2026-03-03T12:00:00Z',
  failedAt: '2026-03-03T12:00:01Z',
});
const page = (...ids: string[]) => ({ errors: ids.map((id) => failure(id)), nextCursor: 'next' });
const after = (...actions: LogAction[]): LogState => actions.reduce(reduceLog, initialLog);
const ids = (state: LogState) => state.rows.map((row) => row.loanId);

describe('the log', () => {
  test('loads a page and turns it', () => {
    const first = after({ type: 'loaded', page: page('C', 'B') });
    expect(ids(first)).toEqual(['C', 'B']);
    const turned = reduceLog(first, { type: 'load', trail: ['next'] });
    expect([turned.phase, turned.trail]).toEqual(['loading', ['next']]);
    const older = reduceLog(turned, { type: 'loaded', page: { errors: [failure('A')], nextCursor: null } });
    expect([ids(older), older.nextCursor]).toEqual([['A'], null]);
  });

  test('live failures wait while a row is open or an older page is shown, and move nothing', () => {
    const opened = after({ type: 'loaded', page: page('B', 'A') }, { type: 'toggle', key: 'A#1' }, { type: 'happened', failures: 3 });
    expect([ids(opened), opened.waiting, mayFollow(opened, false)]).toEqual([['B', 'A'], 3, false]);
    expect(reduceLog(opened, { type: 'refreshed', page: page('C') })).toBe(opened);
    const older = after({ type: 'load', trail: ['x'] }, { type: 'loaded', page: page('A') });
    expect(mayFollow(older, false)).toBe(false);
    expect(reduceLog(older, { type: 'refreshed', page: page('C') })).toBe(older);
  });

  test('the newest page follows when nothing is read, and keeps the rows that it knows', () => {
    const known = after({ type: 'loaded', page: page('B', 'A') }, { type: 'happened', failures: 1 });
    expect([mayFollow(known, false), mayFollow(known, true)]).toEqual([true, false]);
    const fresh = reduceLog(known, { type: 'refreshed', page: page('C', 'B', 'A') });
    expect([ids(fresh), fresh.waiting]).toEqual([['C', 'B', 'A'], 0]);
    expect(fresh.rows[1]).toBe(known.rows[0]);
  });

  test('a row opens and closes; turning the page closes it', () => {
    const opened = after({ type: 'loaded', page: page('A') }, { type: 'toggle', key: 'A#1' });
    expect(opened.openKey).toBe('A#1');
    expect(reduceLog(opened, { type: 'toggle', key: 'A#1' }).openKey).toBeNull();
    expect(reduceLog(opened, { type: 'load', trail: [] }).openKey).toBeNull();
  });

  test('a failed read keeps the rows', () => {
    const failed = after({ type: 'loaded', page: page('A') }, { type: 'failed', message: 'away' });
    expect([ids(failed), failed.phase, failed.message]).toEqual([['A'], 'failed', 'away']);
  });

  test('each attempt is a row of its own', () => expect(keyOf(failure('A', 2))).toBe('A#2'));
});

describe('the filters', () => {
  test('stand in the address and come back from it, beside what else stands there', () => {
    const filters = { ...noFilters, loanId: 'GC-1', errorType: 'poison', from: '2026-03-03T12:00', to: '' };
    const search = searchWith('?minutes=30&to=2026-01-01T00:00', filters);
    expect(filtersOf(search)).toEqual(filters);
    expect(new URLSearchParams(search).get('minutes')).toBe('30');
    expect(searchWith(search, noFilters)).toBe('?minutes=30');
    expect(searchWith('?errorType=poison', noFilters)).toBe('');
  });

  test('nonsense in the address is no filter', () => expect(filtersOf('?from=yesterday&to=x')).toEqual(noFilters));

  test('become the query', () => {
    const from = new Date(2026, 2, 3, 12, 0).getTime();
    const query = queryOf({ ...noFilters, loanId: 'A', errorType: '', from: '2026-03-03T12:00', to: '' }, 50, 'c');
    expect(Object.fromEntries(query)).toEqual({ loanId: 'A', from: String(from), limit: '50', cursor: 'c' });
  });

  test('apply to live failures, together', () => {
    const at = new Date(2026, 2, 3, 12, 30).getTime();
    const filters = { ...noFilters, errorType: 'out_of_range', from: '2026-03-03T12:00', to: '2026-03-03T13:00' };
    expect(matches(filters, failure('A'), at)).toBe(true);
    expect(matches(filters, failure('A'), at + 3_600_000)).toBe(false);
    expect(matches(filters, failure('A'), at - 3_600_000)).toBe(false);
    expect(matches({ ...filters, errorType: 'poison' }, failure('A'), at)).toBe(false);
    expect(matches({ ...filters, loanId: 'B' }, failure('A'), at)).toBe(false);
    expect([isFiltered(filters), isFiltered(noFilters)]).toEqual([true, false]);
  });
});
