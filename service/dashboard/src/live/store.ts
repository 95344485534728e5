// What the page knows: the newest snapshot, how the connection is, and what has happened. The charts' rows lie beside
// it in a `Series`, which changes in place.

import { fetchHistory } from '../api/client';
import type { History, LiveEvent, Point, Snapshot } from '../api/types';
import { Connection, type Batch, type ConnectionState } from './connection';
import { runsOf, type Run } from './runs';
import { LiveTail, Series } from './series';

/** Events kept for the list and the markers. */
const EVENTS_MAX = 500;
/** History is asked for again after this long, when it did not come. */
const HISTORY_AGAIN_MS = 3_000;

export interface LiveState {
  connection: ConnectionState;
  snapshot: Snapshot | null;
  /** When the newest snapshot arrived, by this machine's clock. */
  heardAtMs: number | null;
  /** How far the service's clock is ahead of this machine's. */
  clockAheadMs: number;
  /** What happened, oldest first; neither failures nor a run's latencies. */
  events: readonly LiveEvent[];
  runs: readonly Run[];
  /** The version of the service that this page came from; another one means: load again. */
  firstVersion: string | null;
}

export const initialState: LiveState = {
  connection: { phase: 'connecting', failures: 0 },
  snapshot: null,
  heardAtMs: null,
  clockAheadMs: 0,
  events: [],
  runs: [],
  firstVersion: null,
};

export type Failure = Extract<LiveEvent, { kind: 'failure' }>;

/** Adds events in the order of their time, each once, and drops the oldest beyond the bound. */
export function mergeEvents(known: readonly LiveEvent[], more: readonly LiveEvent[]): readonly LiveEvent[] {
  const told = more.filter(isKept);
  if (told.length === 0) return known;
  const keys = new Set(known.map(keyOf));
  const fresh = told.filter((event) => {
    const key = keyOf(event);
    const isNew = !keys.has(key);
    keys.add(key);
    return isNew;
  });
  if (fresh.length === 0) return known;
  return [...known, ...fresh].sort((a, b) => a.atMs - b.atMs).slice(-EVENTS_MAX);
}

function isKept(event: LiveEvent): boolean {
  return event.kind !== 'failure' && !(event.kind === 'run' && event.marker === 'latency');
}

function keyOf(event: LiveEvent): string {
  return JSON.stringify(event);
}

/** The state after a batch of news. */
export function withBatch(state: LiveState, batch: Batch, nowMs: number): LiveState {
  const events = mergeEvents(state.events, batch.events);
  const runs = events === state.events ? state.runs : runsOf(events);
  if (batch.snapshot === null) return events === state.events ? state : { ...state, events, runs };
  return {
    ...state,
    events,
    runs,
    snapshot: batch.snapshot,
    heardAtMs: nowMs,
    clockAheadMs: clockAhead(state, batch.snapshot.atMs - nowMs),
    firstVersion: state.firstVersion ?? buildOf(batch.snapshot),
  };
}

/** What tells one build of the service from another. */
export function buildOf(snapshot: Snapshot): string {
  const commit = snapshot.gitCommit === 'unknown' ? '' : ` ${snapshot.gitCommit.slice(0, 9)}`;
  return snapshot.version + commit;
}

/** Snapshots arrive late, never early: the largest difference is the best, and it may slip slowly. */
function clockAhead(state: LiveState, observedMs: number): number {
  if (state.snapshot === null || Math.abs(observedMs - state.clockAheadMs) > 5_000) return observedMs;
  return observedMs > state.clockAheadMs ? observedMs : state.clockAheadMs + (observedMs - state.clockAheadMs) * 0.01;
}

/** The live side of the page. One instance lives as long as the page. */
export class Live {
  readonly series = new Series();
  private readonly tail = new LiveTail(this.series);
  private readonly connection: Connection;
  private readonly listeners = new Set<() => void>();
  private readonly failureListeners = new Set<(failures: Failure[], missed: boolean) => void>();
  private historyAgain: ReturnType<typeof setTimeout> | undefined;
  /** Grows with every change of the rows. */
  revision = 0;
  state: LiveState = initialState;

  constructor(url: string) {
    this.connection = new Connection(url, {
      onState: (connection) => this.setConnection(connection),
      onHistory: (points) => this.takeHistory({ points, events: [] }),
      onBatch: (batch) => this.takeBatch(batch),
    });
  }

  start(): void {
    this.connection.start();
    window.addEventListener('online', () => this.connection.hurry());
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) return;
      this.connection.hurry();
      // Browsers hold hidden pages back: what they missed is fetched.
      const lastMs = (this.series.lastTime() ?? 0) * 1000;
      if (this.state.connection.phase === 'live' && this.nowMs() - lastMs > 3_000) void this.fetchHistory();
    });
  }

  reconnect(): void {
    this.connection.hurry();
  }

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** Failures as they happen; `missed` says that some were not told. */
  onFailures(listener: (failures: Failure[], missed: boolean) => void): () => void {
    this.failureListeners.add(listener);
    return () => this.failureListeners.delete(listener);
  }

  /** The service's clock, in milliseconds. */
  nowMs(): number {
    return Date.now() + this.state.clockAheadMs;
  }

  private set(state: LiveState): void {
    if (state === this.state) return;
    this.state = state;
    for (const listener of this.listeners) listener();
  }

  private setConnection(connection: ConnectionState): void {
    const before = this.state.connection;
    if (connection.phase === 'live' && before.phase === 'live') return;
    this.set({ ...this.state, connection });
  }

  private takeBatch(batch: Batch): void {
    if (batch.snapshot !== null) {
      this.tail.add(batch.snapshot);
      this.revision += 1;
    }
    this.takeLatencies(batch.events);
    this.set(withBatch(this.state, batch, Date.now()));
    const failures = batch.events.filter((event) => event.kind === 'failure');
    if (failures.length > 0 || batch.missed) {
      for (const listener of this.failureListeners) listener(failures, batch.missed);
    }
  }

  /** The first message of a connection: paints the last minutes at once; the whole half hour follows. */
  private takeHistory(history: History): void {
    this.mergeHistory(history.points, history.events);
    void this.fetchHistory();
  }

  private async fetchHistory(): Promise<void> {
    clearTimeout(this.historyAgain);
    try {
      const history = await fetchHistory(30);
      this.mergeHistory(history.points, history.events);
    } catch {
      this.historyAgain = setTimeout(() => {
        if (this.state.connection.phase === 'live') void this.fetchHistory();
      }, HISTORY_AGAIN_MS);
    }
  }

  private mergeHistory(points: readonly Point[], events: readonly LiveEvent[]): void {
    this.series.merge(points);
    this.tail.reset();
    this.takeLatencies(events);
    this.revision += 1;
    const merged = mergeEvents(this.state.events, events);
    this.set({ ...this.state, events: merged, runs: merged === this.state.events ? this.state.runs : runsOf(merged) });
  }

  private takeLatencies(events: readonly LiveEvent[]): void {
    for (const event of events) {
      if (event.kind !== 'run' || event.marker !== 'latency' || event.responseUs == null || event.responseUs.count === 0) continue;
      this.series.addClientLatency({ at: event.atMs / 1000, p50: event.responseUs.p50, p99: event.responseUs.p99 });
      this.revision += 1;
    }
  }
}
