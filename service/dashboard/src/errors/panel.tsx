// The errors: the breakdown, and the log with its filters, which stand in the page's address.

import { useCallback, useEffect, useReducer, useRef, useState } from 'react';
import { fetchFailures } from '../api/client';
import { count, plural } from '../format';
import { Button } from '../ui/button';
import { live } from '../ui/store';
import { Actions } from './act';
import { Breakdown } from './breakdown';
import { FilterBar } from './filter-bar';
import { filtersOf, isFiltered, matches, queryOf, searchWith, type Filters } from './filters';
import { initialLog, mayFollow, PAGE_LEN, reduceLog } from './log';
import { pageToggled, toggled } from './selection';
import { LogTable } from './table';

/** A failure is told before it is recorded: the log is read again a little later. */
const REFRESH_AFTER_MS = 500;
/** And once more, for the last of a burst. */
const SETTLE_AFTER_MS = 2_000;

export function ErrorsPanel() {
  const [filters, setFilters] = useState<Filters>(() => filtersOf(location.search));
  const [log, dispatch] = useReducer(reduceLog, initialLog);
  const [isRead, setRead] = useState(false);
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const query = useRef<AbortController | null>(null);

  const load = useCallback(async (wanted: Filters, trail: readonly string[]) => {
    query.current?.abort();
    const abort = new AbortController();
    query.current = abort;
    dispatch({ type: 'load', trail });
    try {
      const page = await fetchFailures(queryOf(wanted, PAGE_LEN, trail.at(-1) ?? null), abort.signal);
      dispatch({ type: 'loaded', page });
    } catch (error) {
      if (!abort.signal.aborted) dispatch({ type: 'failed', message: error instanceof Error ? error.message : 'The log cannot be read.' });
    }
  }, []);

  useEffect(() => void load(filters, []), [filters, load]);

  // Back and forward change the address.
  useEffect(() => {
    const onPop = () => setFilters(filtersOf(location.search));
    window.addEventListener('popstate', onPop);
    return () => window.removeEventListener('popstate', onPop);
  }, []);

  const change = (wanted: Filters) => {
    history.pushState(null, '', location.pathname + searchWith(location.search, wanted));
    setFilters(wanted);
    setSelected(new Set());
  };
  const select = useCallback((loanId: string) => setSelected((before) => toggled(before, loanId)), []);

  const follows = mayFollow(log, isRead);
  const latest = useRef({ filters, follows });
  useEffect(() => {
    latest.current = { filters, follows };
  });

  const refresh = useCallback(async () => {
    const { filters: wanted } = latest.current;
    try {
      const page = await fetchFailures(queryOf(wanted, PAGE_LEN, null));
      if (latest.current.follows && latest.current.filters === wanted) dispatch({ type: 'refreshed', page });
    } catch {
      // The next failure, or the connection's return, tries again.
    }
  }, []);

  useEffect(() => {
    let soon: ReturnType<typeof setTimeout> | undefined;
    let settled: ReturnType<typeof setTimeout> | undefined;
    const stopListening = live.onFailures((failures, missed) => {
      const own = failures.filter((failure) => matches(latest.current.filters, failure, failure.atMs)).length;
      if (own === 0 && !missed) return;
      dispatch({ type: 'happened', failures: own });
      if (!latest.current.follows) return;
      soon ??= setTimeout(() => {
        soon = undefined;
        if (latest.current.follows) void refresh();
      }, REFRESH_AFTER_MS);
      clearTimeout(settled);
      settled = setTimeout(() => {
        if (latest.current.follows) void refresh();
      }, SETTLE_AFTER_MS);
    });
    // What happened while the connection was away was told to nobody.
    let wasLive = live.state.connection.phase === 'live';
    const stopWatching = live.subscribe(() => {
      const isLive = live.state.connection.phase === 'live';
      if (isLive && !wasLive && latest.current.follows) void refresh();
      wasLive = isLive;
    });
    return () => {
      stopListening();
      stopWatching();
      clearTimeout(soon);
      clearTimeout(settled);
    };
  }, [refresh]);

  // Once nothing is being read any more, what waits is shown.
  const hasWaiting = log.waiting > 0;
  useEffect(() => {
    if (!follows || !hasWaiting) return;
    const timer = setTimeout(() => void refresh(), REFRESH_AFTER_MS);
    return () => clearTimeout(timer);
  }, [follows, hasWaiting, refresh]);

  const showsWaiting = log.waiting > 0 && !follows;
  const page = log.trail.length + 1;
  return (
    <section aria-labelledby="errors" className="card flex min-h-0 min-w-0 flex-col">
      <h2 id="errors" className="px-4 pt-3 pb-1 text-base font-semibold">
        Errors
      </h2>
      <div className="grid min-h-0 min-w-0 gap-x-6 gap-y-5 p-4 pt-1 lg:max-3xl:grid-cols-[19rem_minmax(0,1fr)] 3xl:flex-1 3xl:grid-rows-[auto_minmax(0,1fr)]">
        <Breakdown errorType={filters.errorType} onErrorType={(errorType) => change({ ...filters, errorType })} />
        <div className="flex min-h-0 min-w-0 flex-col">
          <FilterBar filters={filters} onChange={change} />
          <Actions filters={filters} selected={selected} onClear={() => setSelected(new Set())} />
          <div
            aria-busy={log.phase === 'loading'}
            className="relative mt-3 min-h-0 min-w-0 3xl:flex-1 3xl:overflow-y-auto"
            onPointerEnter={(event) => event.pointerType === 'mouse' && setRead(true)}
            onPointerLeave={() => setRead(false)}
            onFocus={() => setRead(true)}
            onBlur={() => setRead(false)}
          >
            {showsWaiting && (
              <div className="pointer-events-none sticky top-16 z-10 -mt-3 -mb-5 flex h-8 justify-center 3xl:top-3">
                <button
                  type="button"
                  data-testid="waiting"
                  className="numeric pointer-events-auto h-8 rounded-full bg-accent px-3.5 text-[0.8125rem] font-medium text-on-accent shadow-md hover:brightness-110"
                  onClick={() => {
                    setRead(false);
                    void load(filters, []);
                  }}
                >
                  {plural(log.waiting, 'new failure')}
                </button>
              </div>
            )}
            <LogTable log={log} selected={selected} onSelect={select} onSelectPage={() => setSelected(pageToggled(selected, log.rows.map(({ loanId }) => loanId)))} onToggle={(key) => dispatch({ type: 'toggle', key })} onChanged={() => void load(filters, log.trail)} isFiltered={isFiltered(filters)} />
            {log.phase === 'failed' && (
              <div className="flex items-center justify-between gap-3 rounded-lg bg-bad-soft px-3 py-2 text-bad" role="alert">
                {log.message}
                <Button small onClick={() => void load(filters, log.trail)}>
                  Try again
                </Button>
              </div>
            )}
          </div>
          <nav aria-label="Pages of the error log" className="flex items-center gap-2 pt-3">
            <Button small reason={page === 1 ? 'This is the newest page' : null} onClick={() => void load(filters, [])}>
              Newest
            </Button>
            <Button small reason={page === 1 ? 'This is the newest page' : null} onClick={() => void load(filters, log.trail.slice(0, -1))}>
              Newer
            </Button>
            <span className="numeric px-1 text-[0.8125rem] text-muted" data-testid="page">
              Page {count(page)}
            </span>
            <Button
              small
              reason={log.nextCursor === null ? 'This is the oldest page' : null}
              onClick={() => log.nextCursor !== null && void load(filters, [...log.trail, log.nextCursor])}
            >
              Older
            </Button>
          </nav>
        </div>
      </div>
    </section>
  );
}
