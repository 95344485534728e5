// The error log's state: one page of failures at a time, so that neither the page nor its memory grows, and live
// failures that wait at the top until they may be shown. Pure.

import type { Failure, FailurePage } from '../api/types';

/** Rows on a page. */
export const PAGE_LEN = 50;

export interface LogState {
  /** Newest first. */
  rows: readonly Failure[];
  /** Cursors of the pages from the second to this one; empty on the newest page. */
  trail: readonly string[];
  nextCursor: string | null;
  /** Failures that happened since the page was loaded and are not shown. */
  waiting: number;
  phase: 'loading' | 'ready' | 'failed';
  message: string | null;
  /** Which row is open, by its key. */
  openKey: string | null;
}

export const initialLog: LogState = {
  rows: [],
  trail: [],
  nextCursor: null,
  waiting: 0,
  phase: 'loading',
  message: null,
  openKey: null,
};

export type LogAction =
  /** The filters changed or the page was turned: rows of before are not of this page. */
  | { type: 'load'; trail: readonly string[] }
  | { type: 'loaded'; page: FailurePage }
  /** The newest page was fetched again, in place. */
  | { type: 'refreshed'; page: FailurePage }
  | { type: 'failed'; message: string }
  | { type: 'happened'; failures: number }
  | { type: 'toggle'; key: string };

export function keyOf(failure: Pick<Failure, 'loanId' | 'attempt'>): string {
  return `${failure.loanId}#${failure.attempt}`;
}

export function reduceLog(state: LogState, action: LogAction): LogState {
  switch (action.type) {
    case 'load':
      return { ...state, trail: action.trail, phase: 'loading', message: null, openKey: null, waiting: 0 };
    case 'loaded':
      return { ...state, rows: action.page.errors, nextCursor: action.page.nextCursor, phase: 'ready', message: null };
    case 'refreshed':
      // Only the newest page is refreshed, and not while a row is being read.
      if (state.trail.length > 0 || state.openKey !== null) return state;
      return { ...state, rows: merged(state.rows, action.page.errors), nextCursor: action.page.nextCursor, phase: 'ready', message: null, waiting: 0 };
    case 'failed':
      return { ...state, phase: 'failed', message: action.message };
    case 'happened':
      return { ...state, waiting: state.waiting + action.failures };
    case 'toggle':
      return { ...state, openKey: state.openKey === action.key ? null : action.key };
  }
}

/** The fresh rows; those that are known already keep their identity, so that nothing is drawn again. */
function merged(known: readonly Failure[], fresh: readonly Failure[]): readonly Failure[] {
  const byKey = new Map(known.map((failure) => [keyOf(failure), failure]));
  return fresh.map((failure) => byKey.get(keyOf(failure)) ?? failure);
}

/** Whether new failures may be put on top now, without moving what is being read. */
export function mayFollow(state: LogState, isRead: boolean): boolean {
  return state.trail.length === 0 && state.openKey === null && state.phase !== 'loading' && !isRead;
}
