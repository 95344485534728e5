// What the page knows: the newest snapshot, how the connection is, and what has happened. The charts' rows lie beside
// it in a `Series`, which changes in place.

import { fetchHistory } from '../api/client';
import type { History, LiveEvent, Point, Snapshot, Task } from '../api/types';
import { inOrder, ServiceClock } from './clock';
import { Connection, type Batch, type ConnectionState } from './connection';
import { runsOf, type Run } from './runs';
import { LiveTail, Series } from './series';

/** Events kept for the list and the markers. */
const EVENTS_MAX = 500;
/** An event that is told right away is no older than this. */
const FRESH_MS = 1_000;
/** Instances tell each other of events, which may arrive this much out of order. */
const DISORDER_MS = 2_000;
const SECOND_MS = 1_000;
/** History is asked for again after this long, when it did not come. */
const HISTORY_AGAIN_MS = 3_000;

export interface LiveState {
  connection: ConnectionState;
  snapshot: Snapshot | null;
  /** What happened, oldest first; neither failures nor a run's latencies. */
  events: readonly LiveEvent[];
  runs: readonly Run[];
  /** Work on many loans, the newest first; `null` while nothing is known of it. */
  tasks: readonly Task[] | null;
  /** The version of the service that this page came from; another one means: load again. */
  firstVersion: string | null;
}

export const initialState: LiveState = {
  connection: { phase: 'connecting', failures: 0 },
  snapshot: null,
  events: [],
  runs: [],
  tasks: null,
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
export function withBatch(state: LiveState, batch: Batch): LiveState {
  const events = mergeEvents(state.events, batch.events);
  const runs = events === state.events ? state.runs : runsOf(events);
  if (batch.snapshot === null) return events === state.events ? state : { ...state, events, runs };
  return {
    ...state,
    events,
    runs,
    snapshot: batch.snapshot,
    firstVersion: state.firstVersion ?? buildOf(batch.snapshot),
  };
}

/** What tells one build of the service from another. */
export function buildOf(snapshot: Snapshot): string {
  const commit = snapshot.gitCommit === 'unknown' ? '' : ` ${snapshot.gitCommit.slice(0, 9)}`;
  return snapshot.version + commit;
}

/**
 * The events after the clock was set. Those told since the last snapshot, which are not among the `settled`, may have been
 * told before it or after: what lies at about now is told by the new clock.
 */
export function shifted(events: readonly LiveEvent[], settled: readonly LiveEvent[], setByMs: number, nowMs: number): readonly LiveEvent[] {
  const known = new Set(settled);
  const isOfNow = (event: LiveEvent) => !known.has(event) && Math.abs(event.atMs - nowMs) <= FRESH_MS;
  return events.map((event) => (isOfNow(event) ? event : { ...event, atMs: event.atMs + setByMs })).sort((a, b) => a.atMs - b.atMs);
}

/** The live side of the page. One instance lives as long as the page. */
export class Live {
  readonly series = new Series();
  private readonly tail = new LiveTail(this.series);
  private readonly clock = new ServiceClock();
  /** How often the service's clock was set while the page was open. */
  private clockSets = 0;
  /** The events that were known at the last snapshot. */
  private settledEvents: readonly LiveEvent[] = [];
  /** Came first on a new connection: where it belongs shows with the first snapshot. */
  private firstHistory: Point[] | null = null;
  private readonly connection: Connection;
  private readonly listeners = new Set<() => void>();
  private readonly clockListeners = new Set<(setByMs: number) => void>();
  private readonly failureListeners = new Set<(failures: Failure[], missed: boolean) => void>();
  private historyAgain: ReturnType<typeof setTimeout> | undefined;
  /** Grows with every change of the rows. */
  revision = 0;
  state: LiveState = initialState;

  constructor(url: string) {
    this.connection = new Connection(url, {
      onState: (connection) => this.setConnection(connection),
      onHistory: (points) => (this.firstHistory = points),
      onTasks: (tasks) => this.set({ ...this.state, tasks }),
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

  /** Another token counts: what is told depends on it. */
  tokenChanged(): void {
    this.connection.reopen();
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

  /** Hears by how much the service's clock was set: whatever was told before belongs so much later. */
  onClockSet(listener: (setByMs: number) => void): () => void {
    this.clockListeners.add(listener);
    return () => this.clockListeners.delete(listener);
  }

  /** The service's clock, in milliseconds. Whoever sets this machine's does not move it. */
  nowMs(): number {
    return this.clock.at(performance.now());
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
    const { snapshot } = batch;
    if (snapshot !== null) {
      const setByMs = this.clock.see(snapshot, batch.heardMs);
      if (setByMs !== 0) this.shift(setByMs);
      if (this.firstHistory !== null) {
        // Paints the last minutes at once; the whole half hour follows.
        this.mergeHistory({ points: this.firstHistory, events: [] });
        this.firstHistory = null;
        void this.fetchHistory();
      }
      this.tail.add(snapshot);
      this.revision += 1;
    }
    this.takeLatencies(batch.events);
    this.set(withBatch(this.state, batch));
    if (snapshot !== null) this.settledEvents = this.state.events;
    const failures = batch.events.filter((event) => event.kind === 'failure');
    if (failures.length > 0 || batch.missed) {
      for (const listener of this.failureListeners) listener(failures, batch.missed);
    }
  }

  /** The service's clock was set: what is known moves along, so that its distance from now stays what it was. */
  private shift(setByMs: number): void {
    this.clockSets += 1;
    this.series.shift(setByMs / 1_000);
    this.tail.shift(setByMs / 1_000);
    const events = shifted(this.state.events, this.settledEvents, setByMs, this.nowMs());
    this.set({ ...this.state, events, runs: runsOf(events) });
    for (const listener of this.clockListeners) listener(setByMs);
  }

  private async fetchHistory(): Promise<void> {
    clearTimeout(this.historyAgain);
    const { clockSets } = this;
    try {
      const history = await fetchHistory(30);
      // When it was set meanwhile, nobody knows which of the two clocks the answer is of.
      if (clockSets === this.clockSets) this.mergeHistory(history);
      else void this.fetchHistory();
    } catch {
      this.historyAgain = setTimeout(() => {
        if (this.state.connection.phase === 'live') void this.fetchHistory();
      }, HISTORY_AGAIN_MS);
    }
  }

  private mergeHistory({ points, events }: History): void {
    const pointTimes = inOrder(points.map((point) => point.atMs), Infinity, { apartMs: SECOND_MS, slackMs: 0 });
    const eventTimes = inOrder(events.map((event) => event.atMs), this.nowMs(), { apartMs: 0, slackMs: DISORDER_MS });
    const told = events.map((event, index) => ({ ...event, atMs: eventTimes[index] ?? event.atMs }));
    this.series.merge(points.map((point, index) => ({ ...point, atMs: pointTimes[index] ?? point.atMs })));
    this.tail.reset();
    this.takeLatencies(told);
    this.revision += 1;
    const [first, last] = [pointTimes[0], pointTimes.at(-1)];
    // Once a clock was set, an event that is told again may bear another instant: what the history reaches, it tells.
    const isToldAgain = (atMs: number) => this.clockSets > 0 && events.length > 0 && first !== undefined && last !== undefined && atMs >= first && atMs <= last;
    const known = this.state.events.filter((event) => !isToldAgain(event.atMs));
    const merged = mergeEvents(known.length === this.state.events.length ? this.state.events : known, told);
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
