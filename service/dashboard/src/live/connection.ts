// The WebSocket: opens it, keeps it, says how it is, and hands on what arrives, the newest snapshot only.

import { webSocketProtocols } from '../api/client';
import type { LiveEvent, Message, Point, Snapshot, Task } from '../api/types';
import { backoffMs } from './backoff';

/** Snapshots come five times a second. Without one for this long, what is shown is not of now. */
const STALE_AFTER_MS = 2_000;
/** A connection that is silent for this long is given up. */
const SILENT_AFTER_MS = 8_000;
const WATCH_EVERY_MS = 250;
/** Events that wait for the next frame; beyond it the oldest are dropped, and that is told. */
const EVENTS_WAITING_MAX = 2_000;

export type ConnectionState =
  | { phase: 'connecting'; failures: number }
  | { phase: 'live' }
  /** The connection stands, but nothing comes. */
  | { phase: 'stale' }
  /** Between two attempts; the next is at `retryAtMs` of the page's monotonic clock. */
  | { phase: 'waiting'; failures: number; retryAtMs: number };

export interface Batch {
  snapshot: Snapshot | null;
  events: LiveEvent[];
  /** Events were dropped. */
  missed: boolean;
  /** When the snapshot arrived, on this page's monotonic clock. */
  heardMs: number;
}

export interface Handlers {
  onState(state: ConnectionState): void;
  /** The history that the service sends first. */
  onHistory(points: Point[]): void;
  /** Work on many loans: at first, and whenever it has gone on. */
  onTasks(tasks: Task[]): void;
  onBatch(batch: Batch): void;
}

export class Connection {
  private socket: WebSocket | null = null;
  private failures = 0;
  /** On this page's monotonic clock, as all lengths here. */
  private heardMs = 0;
  private isStale = false;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private watch: ReturnType<typeof setInterval> | undefined;
  /** The newest snapshot, as text: what is older is never parsed. */
  private snapshotText: string | null = null;
  private snapshotHeardMs = 0;
  private events: LiveEvent[] = [];
  private missed = false;
  private isFlushDue = false;

  constructor(
    private readonly url: string,
    private readonly handlers: Handlers,
  ) {}

  start(): void {
    this.watch = setInterval(() => this.look(), WATCH_EVERY_MS);
    document.addEventListener('visibilitychange', () => {
      // The frame that was asked for does not come any more.
      if (document.hidden && this.isFlushDue) setTimeout(() => this.flush(), 0);
    });
    this.open();
  }

  stop(): void {
    clearInterval(this.watch);
    clearTimeout(this.retry);
    this.forget();
  }

  /** Tries at once: the network or the page is back, or a person asked. */
  hurry(): void {
    if (this.socket !== null) return;
    clearTimeout(this.retry);
    this.open();
  }

  /** Opens another one: another token counts. */
  reopen(): void {
    clearTimeout(this.retry);
    this.forget();
    this.open();
  }

  private open(): void {
    this.handlers.onState({ phase: 'connecting', failures: this.failures });
    const socket = new WebSocket(this.url, webSocketProtocols());
    this.socket = socket;
    this.heardMs = performance.now();
    this.isStale = false;
    socket.onmessage = (message) => {
      if (typeof message.data === 'string') this.take(message.data);
    };
    socket.onclose = () => this.lost();
    socket.onerror = () => {
      // onclose follows.
    };
  }

  private take(text: string): void {
    this.heardMs = performance.now();
    if (text.startsWith('{"type":"snapshot"')) {
      this.snapshotText = text;
      this.snapshotHeardMs = this.heardMs;
      // A connection is up when it delivers, not when it opens.
      if (this.failures > 0 || this.isStale) {
        this.failures = 0;
        this.isStale = false;
      }
    } else {
      const message = JSON.parse(text) as Message;
      if (message.type === 'history') this.handlers.onHistory(message.points);
      else if (message.type === 'tasks') this.handlers.onTasks(message.tasks);
      else if (message.type === 'event') this.keep(message.event);
    }
    this.scheduleFlush();
  }

  private keep(event: LiveEvent): void {
    this.events.push(event);
    if (this.events.length > EVENTS_WAITING_MAX) {
      this.events = this.events.slice(-EVENTS_WAITING_MAX / 2);
      this.missed = true;
    }
  }

  private scheduleFlush(): void {
    if (this.isFlushDue) return;
    this.isFlushDue = true;
    // A hidden page gets no frames.
    if (document.hidden) setTimeout(() => this.flush(), 0);
    else requestAnimationFrame(() => this.flush());
  }

  private flush(): void {
    this.isFlushDue = false;
    const text = this.snapshotText;
    const batch: Batch = {
      snapshot: text === null ? null : (JSON.parse(text) as { snapshot: Snapshot }).snapshot,
      events: this.events,
      missed: this.missed,
      heardMs: this.snapshotHeardMs,
    };
    this.snapshotText = null;
    this.events = [];
    this.missed = false;
    if (batch.snapshot !== null && this.socket !== null) this.handlers.onState({ phase: 'live' });
    if (batch.snapshot !== null || batch.events.length > 0) this.handlers.onBatch(batch);
  }

  private look(): void {
    if (this.socket === null) return;
    const silentMs = performance.now() - this.heardMs;
    if (silentMs > SILENT_AFTER_MS) {
      this.forget();
      this.lost();
    } else if (silentMs > STALE_AFTER_MS && !this.isStale) {
      this.isStale = true;
      if (this.socket.readyState === WebSocket.OPEN) this.handlers.onState({ phase: 'stale' });
    }
  }

  private forget(): void {
    if (this.socket === null) return;
    this.socket.onclose = null;
    this.socket.onmessage = null;
    this.socket.close();
    this.socket = null;
  }

  private lost(): void {
    this.socket = null;
    this.snapshotText = null;
    this.failures += 1;
    const waitMs = backoffMs(this.failures, Math.random());
    this.handlers.onState({ phase: 'waiting', failures: this.failures, retryAtMs: performance.now() + waitMs });
    this.retry = setTimeout(() => this.open(), waitMs);
  }
}
