import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { LiveEvent, Point, Snapshot, Task } from '../src/api/types';
import { backoffMs } from '../src/live/backoff';
import { Connection, type Batch, type ConnectionState } from '../src/live/connection';
import { runningAt, runsOf } from '../src/live/runs';
import { initialState, mergeEvents, withBatch } from '../src/live/store';

const scale = (atMs: number, to = 2): LiveEvent => ({ atMs, kind: 'scale', instance: 'i', from: 1, to, reason: 'more loans' });
const run = (atMs: number, marker: 'start' | 'phase' | 'fault' | 'latency' | 'end', more: object = {}): LiveEvent => ({
  atMs,
  kind: 'run',
  runId: 'r1',
  scenario: 'burst-500',
  marker,
  ...more,
});
const snapshot = (atMs: number, gitCommit = 'a'): Snapshot => ({ atMs, version: '1', gitCommit }) as Snapshot;
const batch = (more: Partial<Batch>): Batch => ({ snapshot: null, events: [], missed: false, heardMs: 0, ...more });

describe('back-off', () => {
  test('grows, is bounded, and spreads', () => {
    expect([1, 2, 3, 4].map((failures) => backoffMs(failures, 1))).toEqual([400, 800, 1_600, 3_200]);
    expect(backoffMs(50, 1)).toBe(15_000);
    expect([backoffMs(50, 0), backoffMs(50, 0.5)]).toEqual([7_500, 11_250]);
  });
});

describe('events', () => {
  test('are kept once, in order, bounded', () => {
    const known = mergeEvents([], [scale(2), scale(1)]);
    expect(known.map((event) => event.atMs)).toEqual([1, 2]);
    expect(mergeEvents(known, [scale(2), scale(1)])).toBe(known);
    const many = mergeEvents(known, Array.from({ length: 2_000 }, (_, index) => scale(10 + index)));
    expect([many.length, many.at(-1)?.atMs]).toEqual([500, 2_009]);
  });

  test('failures and latencies are not among them', () => {
    const failure: LiveEvent = { atMs: 1, kind: 'failure', loanId: 'A', errorType: 'poison', attempt: 1 };
    expect(mergeEvents([], [failure, run(2, 'latency')])).toEqual([]);
  });
});

describe('runs', () => {
  test('are put together from their markers', () => {
    const events = [run(1, 'start'), run(2, 'phase', { name: 'warm-up' }), run(3, 'fault', { name: 'kill' }), run(4, 'phase', { name: 'burst' })];
    expect(runningAt(runsOf(events), 5)?.scenario).toBe('burst-500');
    const ended = runsOf([...events, run(9, 'end', { verdict: 'pass' })]);
    expect(ended).toEqual([
      {
        runId: 'r1',
        scenario: 'burst-500',
        fromMs: 1,
        endedAtMs: 9,
        verdict: 'pass',
        phases: [
          { name: 'warm-up', atMs: 2 },
          { name: 'burst', atMs: 4 },
        ],
        faults: [{ name: 'kill', atMs: 3 }],
      },
    ]);
    expect(runningAt(ended, 10)).toBeNull();
  });

  test('one that was cut off does not run for ever', () => {
    expect(runningAt(runsOf([run(1, 'start')]), 3_600_000)).toBeNull();
    expect(runningAt([], 1)).toBeNull();
  });
});

describe('the state', () => {
  test('takes the snapshot, and keeps the version of the page', () => {
    const first = withBatch(initialState, batch({ snapshot: snapshot(1_000) }));
    expect([first.snapshot?.atMs, first.firstVersion]).toEqual([1_000, '1 a']);
    expect(withBatch(first, batch({ snapshot: snapshot(1_600, 'b') })).firstVersion).toBe('1 a');
  });

  test('nothing new is the same state', () => expect(withBatch(initialState, batch({}))).toBe(initialState));
});

class FakeSocket {
  static readonly OPEN = 1;
  static all: FakeSocket[] = [];
  readyState = 1;
  onmessage: ((message: { data: string }) => void) | null = null;
  onclose: (() => void) | null = null;
  onerror: (() => void) | null = null;
  constructor(readonly url: string) {
    FakeSocket.all.push(this);
  }
  close(): void {
    this.onclose?.();
  }
  say(message: object): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
}

describe('the connection', () => {
  let states: ConnectionState[];
  let batches: Batch[];
  let histories: Point[][];
  let works: Task[][];
  let connection: Connection;
  const newest = () => {
    const socket = FakeSocket.all.at(-1);
    if (socket === undefined) throw new Error('no socket');
    return socket;
  };
  const phase = () => states.at(-1)?.phase;

  beforeEach(() => {
    vi.useFakeTimers();
    vi.stubGlobal('WebSocket', FakeSocket);
    vi.stubGlobal('document', { hidden: false, addEventListener: () => undefined });
    vi.stubGlobal('requestAnimationFrame', (frame: () => void) => setTimeout(frame, 16));
    vi.spyOn(Math, 'random').mockReturnValue(1);
    FakeSocket.all = [];
    states = [];
    batches = [];
    histories = [];
    works = [];
    connection = new Connection('ws://x/ws', {
      onState: (state) => states.push(state),
      onHistory: (points) => histories.push(points),
      onTasks: (tasks) => works.push(tasks),
      onBatch: (news) => batches.push(news),
    });
    connection.start();
  });

  afterEach(() => {
    connection.stop();
    vi.useRealTimers();
    vi.unstubAllGlobals();
    vi.restoreAllMocks();
  });

  test('is live when it delivers, not when it opens', () => {
    expect(phase()).toBe('connecting');
    newest().say({ type: 'history', points: [] });
    vi.advanceTimersByTime(20);
    expect([phase(), histories.length]).toEqual(['connecting', 1]);
    newest().say({ type: 'snapshot', snapshot: snapshot(1) });
    vi.advanceTimersByTime(20);
    expect(phase()).toBe('live');
  });

  test('hears how far work is, whatever else is told', () => {
    newest().say({ type: 'tasks', tasks: [] });
    newest().say({ type: 'of a later version' });
    expect(works).toEqual([[]]);
  });

  test('a slow page gets the newest snapshot and every event, at once', () => {
    for (let at = 1; at <= 50; at += 1) newest().say({ type: 'snapshot', snapshot: snapshot(at) });
    newest().say({ type: 'event', event: scale(7) });
    vi.advanceTimersByTime(20);
    expect(batches.map((news) => [news.snapshot?.atMs, news.events.length])).toEqual([[50, 1]]);
  });

  test('events beyond the bound are dropped, and that is told', () => {
    for (let at = 0; at < 2_500; at += 1) newest().say({ type: 'event', event: scale(at) });
    vi.advanceTimersByTime(20);
    expect([batches[0]?.missed, (batches[0]?.events.length ?? 0) <= 2_000, batches[0]?.events.at(-1)?.atMs]).toEqual([true, true, 2_499]);
  });

  test('comes back by itself, later each time', () => {
    newest().close();
    expect(states.at(-1)).toMatchObject({ phase: 'waiting', failures: 1 });
    vi.advanceTimersByTime(399);
    expect(FakeSocket.all.length).toBe(1);
    vi.advanceTimersByTime(1);
    expect([FakeSocket.all.length, phase()]).toEqual([2, 'connecting']);
    newest().close();
    vi.advanceTimersByTime(799);
    expect(FakeSocket.all.length).toBe(2);
    vi.advanceTimersByTime(1);
    expect(FakeSocket.all.length).toBe(3);
    newest().say({ type: 'snapshot', snapshot: snapshot(1) });
    vi.advanceTimersByTime(20);
    newest().close();
    expect(states.at(-1)).toMatchObject({ phase: 'waiting', failures: 1 });
  });

  test('hurries when asked, and does not open twice', () => {
    newest().close();
    connection.hurry();
    connection.hurry();
    expect(FakeSocket.all.length).toBe(2);
    vi.advanceTimersByTime(60_000);
    expect(FakeSocket.all.filter((socket) => socket.onclose !== null).length).toBe(1);
  });

  test('silence is stale, then given up', () => {
    newest().say({ type: 'snapshot', snapshot: snapshot(1) });
    vi.advanceTimersByTime(2_500);
    expect(phase()).toBe('stale');
    newest().say({ type: 'snapshot', snapshot: snapshot(2) });
    vi.advanceTimersByTime(20);
    expect(phase()).toBe('live');
    vi.advanceTimersByTime(8_500);
    expect(states.some((state) => state.phase === 'waiting')).toBe(true);
  });
});
