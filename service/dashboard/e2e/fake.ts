// A service that is not one: it speaks the dashboard's protocol with made-up figures. For development and for the
// measurement of frames and memory, where time must run faster or load must be higher than a real stack beside a
// browser allows; and for the tests of the layout, where values must be as long as they may be. The other tests run
// against the real service.

import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize } from 'node:path';
import type { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Task } from '../src/api/operator';
import type { ErrorType, Failure, FailureFilter, LiveEvent, LoanState, Point, Snapshot } from '../src/api/types';

/** What the fake takes for an administrator's token. */
export const TOKEN = 'secret';
const DIST = fileURLToPath(new URL('../dist', import.meta.url));
const TYPES: Record<string, string> = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.woff2': 'font/woff2' };

/** Loans per second at a second of the run: quiet, a burst, quiet. */
export type Load = (second: number) => number;

export const burst: Load = (second) => (second % 120 < 20 ? 40 : second % 120 < 60 ? 500 : second % 120 < 65 ? 1400 : second % 120 < 90 ? 500 : 5) + Math.sin(second * 1.7) * 6 + 6;
export const flood: Load = (second) => 5_000 + Math.sin(second / 3) * 300;

/** What the figures look like. */
export interface Story {
  load: Load;
  pastSeconds: number;
  /** Failures per loan. */
  failureShare: number;
  /** What had happened before the page knows of anything. */
  before: { admitted: number; failed: number };
  /** Categories of failures, the most frequent first; the service may know more than the page. */
  categories: readonly string[];
  /** The applicants and loans by number, counted from 0. */
  email: (number: number) => string;
  loanId: (number: number) => string;
  purpose: string;
  name: string;
  /** Refuses pages, as the service does when it does not know their address as its own. */
  refusesPages: boolean;
  /** What is amiss. */
  degraded: readonly string[];
  /** Changes what a snapshot says. */
  retouch: (snapshot: Snapshot) => Snapshot;
}

const usual: Story = {
  load: burst,
  pastSeconds: 300,
  failureShare: 0.02,
  before: { admitted: 0, failed: 0 },
  categories: ['out_of_range', 'missing_field', 'invalid_format', 'wrong_type'],
  email: (number) => `ada${number % 40}@example.org`,
  loanId: (number) => `GC-${String(number).padStart(6, '0')}`,
  purpose: 'radio/television',
  name: 'Elke Hartmann',
  degraded: [],
  refusesPages: false,
  retouch: (snapshot) => snapshot,
};

/** Every text as long as it may be, every number as large as it gets, and categories that no page was written for. */
export const longest: Partial<Story> = {
  before: { admitted: 48_123_456, failed: 1_234_567 },
  categories: ['out_of_range', 'missing_field', 'invalid_format', 'wrong_type', 'conflict', 'unreadable', 'refused_by_the_credit_bureau'],
  email: (number) => `${'wilhelmina.von-und-zu.'.repeat(12).slice(0, [18, 30, 64][number % 3])}${number}@${'department.'.repeat(30).slice(0, [11, 60, 180][number % 3])}example.org`.slice(-254),
  loanId: (number) => `${'BRANCH-OFFICE:NORTH.2026_'.repeat(3)}${String(number).padStart(7, '0')}`.slice(-64),
  purpose: 'Purchase of a second-hand combine harvester and of two trailers.',
  name: 'Wilhelmina Friederike Charlotte '.repeat(7).slice(0, 200).trim(),
};

export class Fake {
  private readonly story: Story;
  private readonly server: Server;
  private readonly sockets = new Set<Duplex>();
  private readonly points: Point[] = [];
  private readonly events: LiveEvent[] = [];
  private readonly failures: Failure[] = [];
  private paused = false;
  private readonly totals = { admitted: 0, processed: 0, recorded: 0, failed: 0 };
  private queue = 0;
  private workers = 1;
  /** Its wall clock. */
  atMs: number;
  private fromMs: number;

  constructor(story: Partial<Story> = {}) {
    this.story = { ...usual, ...story };
    const { pastSeconds, before } = this.story;
    this.totals.admitted = this.totals.processed = this.totals.recorded = before.admitted;
    this.totals.failed = before.failed;
    this.fromMs = Date.now() - pastSeconds * 1000;
    this.atMs = this.fromMs;
    for (let second = 0; second < pastSeconds; second += 1) this.advance(1_000, true);
    this.server = createServer((request, response) => {
      let body = '';
      request.on('data', (text: Buffer) => (body += text.toString()));
      request.on('end', () => this.answer(request.url ?? '/', request.method ?? 'GET', request.headers.authorization, body, response));
    });
    this.server.on('upgrade', (request, socket: Duplex) => {
      if (this.story.refusesPages) {
        socket.end('HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n');
        return;
      }
      const accept = createHash('sha1')
        .update(`${request.headers['sec-websocket-key'] ?? ''}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
        .digest('base64');
      // A browser that has asked for a protocol wants one named.
      const protocol = request.headers['sec-websocket-protocol'] === undefined ? '' : 'sec-websocket-protocol: sluice\r\n';
      socket.write(`HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ${accept}\r\n${protocol}\r\n`);
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
      socket.on('error', () => this.sockets.delete(socket));
      this.send({ type: 'history', points: this.points.slice(-300) }, socket);
      this.send({ type: 'tasks', tasks: this.tasks }, socket);
    });
  }

  listen(port = 0): Promise<string> {
    return new Promise((resolve) => this.server.listen(port, '127.0.0.1', () => resolve(`http://127.0.0.1:${(this.server.address() as AddressInfo).port}`)));
  }

  close(): void {
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
    this.server.closeAllConnections();
  }

  /** Sets the wall clock; what was told before keeps its instants. */
  setClock(byMs: number): void {
    this.atMs += byMs;
    this.fromMs += byMs;
  }

  /** Pauses or resumes ingestion, and tells every page. */
  pause(isPaused: boolean): void {
    this.paused = isPaused;
    this.happen({ atMs: this.atMs, kind: isPaused ? 'pause' : 'resume' }, false);
  }

  /** Lets time pass, and tells every page. */
  advance(ms: number, isPast = false): void {
    const second = (this.atMs - this.fromMs) / 1000;
    const seconds = ms / 1000;
    const arriving = this.paused ? 0 : Math.round(this.story.load(second) * seconds);
    const capacity = Math.round(this.workers * 260 * seconds);
    const waiting = this.queue + arriving;
    const done = Math.min(waiting, this.story.load(0) > 2_000 ? waiting : capacity);
    this.queue = waiting - done;
    const wanted = Math.max(1, Math.min(5, Math.ceil(this.queue / 50)));
    const before = this.totals.processed;
    const wholeSecond = Math.floor(second + seconds) > Math.floor(second);
    this.atMs += ms;
    if (wholeSecond && wanted !== this.workers && (wanted > this.workers || second % 7 < 1)) {
      this.happen({ atMs: this.atMs, kind: 'scale', instance: 'fake', from: this.workers, to: wanted, reason: `${this.queue} queued loans call for ${wanted}` }, isPast);
      this.workers = wanted;
    }
    if (this.story.load === burst && wholeSecond) this.markRun(Math.floor(second + seconds), isPast);
    this.totals.admitted += arriving;
    this.totals.recorded += before - this.totals.recorded + Math.round(done * 0.7);
    this.totals.processed += done;
    this.totals.recorded = Math.min(this.totals.recorded, this.totals.processed);
    const failing = Math.round(done * this.story.failureShare);
    // Each is numbered after those before it, so that no two have one id.
    for (let index = 0; index < failing; index += 1) this.fail(index, isPast);
    this.totals.failed += failing;
    if (isPast || wholeSecond) {
      this.points.push(this.point());
      if (this.points.length > 1_800) this.points.shift();
    }
    if (!isPast) this.send({ type: 'snapshot', snapshot: this.snapshot(arriving / seconds, done / seconds) });
  }

  private markRun(second: number, isPast: boolean): void {
    const at = second % 120;
    const run = (marker: 'start' | 'phase' | 'latency' | 'end' | 'fault', more: object) =>
      this.happen({ atMs: this.atMs, kind: 'run', runId: `run-${Math.floor(second / 120)}`, scenario: 'burst-500', marker, ...more }, isPast);
    if (at === 1) run('start', {});
    if (at === 1) run('phase', { name: 'warm-up' });
    if (at === 20) run('phase', { name: 'steady' });
    if (at === 60) run('phase', { name: 'burst' });
    if (at === 62) run('fault', { name: 'kill -9 of Redis' });
    if (at === 65) run('phase', { name: 'after' });
    if (at === 90) run('phase', { name: 'drain' });
    if (at === 100) run('end', { verdict: 'pass' });
    if (at > 1 && at < 90) {
      const p50 = 2_400 + Math.random() * 800 + this.queue;
      run('latency', { responseUs: { count: 500, p50, p90: p50 * 2, p99: p50 * 4, p999: p50 * 6, max: p50 * 8 } });
    }
  }

  private happen(event: LiveEvent, isPast: boolean): void {
    if (event.kind !== 'failure') this.events.push(event);
    if (this.events.length > 3_600) this.events.shift();
    if (!isPast) this.send({ type: 'event', event });
  }

  private fail(index: number, isPast: boolean): void {
    const number = this.totals.failed + index;
    const { categories } = this.story;
    const errorType = (categories[number % 7 > 3 ? 0 : number % categories.length] ?? 'poison') as ErrorType;
    const loanId = this.story.loanId(number);
    const at = new Date(this.atMs).toISOString();
    this.failures.push({
      loanId,
      attempt: 1,
      errorType,
      faults: [
        { field: 'creditScore', rule: 'an integer from 300 to 900', errorType, value: '120' },
        ...(number % 3 === 0 ? [{ field: 'applicant.phone', rule: 'a telephone number of 5 to 20 digits', errorType: 'invalid_format' as const, value: this.story.purpose }] : []),
      ],
      applicantEmail: this.story.email(number),
      receivedAt: new Date(this.atMs - 48).toISOString(),
      failedAt: at,
    });
    if (this.failures.length > 20_000) this.failures.splice(0, 10_000);
    if (!isPast && index < 50) this.happen({ atMs: this.atMs, kind: 'failure', loanId, errorType, attempt: 1 }, false);
  }

  private point(): Point {
    const admit = 1_200 + Math.random() * 500 + this.queue * 3;
    return {
      atMs: Math.round(this.atMs),
      received: this.totals.admitted,
      admitted: this.totals.admitted,
      processed: this.totals.processed,
      recorded: this.totals.recorded,
      failed: this.totals.failed,
      queueDepth: this.queue,
      inFlight: 12,
      unrecorded: this.totals.processed - this.totals.recorded,
      workers: this.workers,
      admitP50Us: Math.round(admit / 3),
      admitP99Us: Math.round(admit),
      endToEndP50Us: Math.round(180_000 + this.queue * 300),
      endToEndP99Us: Math.round(320_000 + this.queue * 900),
    };
  }

  private snapshot(admitted: number, processed: number): Snapshot {
    const point = this.point();
    const percentiles = (p50: number, p99: number) => ({ count: 1_000, p50, p90: p50 * 2, p99, p999: p99 * 2, max: p99 * 3 });
    const admit = percentiles(point.admitP50Us, point.admitP99Us);
    const endToEnd = percentiles(point.endToEndP50Us, point.endToEndP99Us);
    const { categories } = this.story;
    const weights = categories.map((_, index) => 0.5 ** index);
    const weighed = weights.reduce((sum, weight) => sum + weight, 0);
    const failed = Object.fromEntries(categories.map((category, index) => [category, Math.round((this.totals.failed * (weights[index] ?? 0)) / weighed)]));
    const applicants = Array.from({ length: 20 }, (_, index) => ({ applicant: this.story.email(index), count: Math.round((this.totals.failed * 0.05) / (1 + index * 0.2)) }));
    return this.story.retouch({
      atMs: point.atMs,
      instance: 'fake',
      version: '0.1.0',
      gitCommit: 'unknown',
      uptimeSeconds: (this.atMs - this.fromMs) / 1000,
      counters: {
        received: point.received,
        admitted: point.admitted,
        replayed: 0,
        rejected: {},
        processed: point.processed,
        accepted: point.processed - point.failed,
        failed,
        failedByApplicant: applicants.filter(({ count }) => count > 0),
        retried: 0,
        recordedLoans: point.recorded,
        recordedFailures: 0,
        redelivered: 0,
        lostCommitRaces: 0,
        duplicateKeys: 0,
      },
      gauges: {
        queueDepth: this.queue,
        inFlight: 12,
        unrecorded: point.unrecorded,
        failedWaiting: this.totals.failed,
        workers: this.workers,
        workersHere: this.workers,
        workersMax: 5,
        connections: 12,
        webSocketClients: this.sockets.size,
        paused: this.paused,
        instances: 2,
        oldestWaitingMs: this.queue * 2,
      },
      rates: { received: admitted, admitted, processed, recorded: processed },
      latencyUs: { admit, queueWait: admit, process: admit, commit: admit, record: endToEnd, endToEnd },
      recentLatencyUs: { admit, endToEnd },
      redis: { up: true, version: '7.0.15', appendfsync: 'always', usedMemoryBytes: 5_300_000, maxMemoryBytes: 0, durable: true },
      mongodb: { up: true, version: '6.0.5' },
      process: { rssBytes: 48_000_000, cpuSeconds: 12, openFiles: 60 },
      degraded: this.story.degraded.map((what) => ({ what, since: new Date(this.atMs - 600_000).toISOString(), detail: `${what} does not do what it is there for` })),
    });
  }

  private send(message: unknown, to?: Duplex): void {
    const text = Buffer.from(JSON.stringify(message));
    const head =
      text.length < 126
        ? Buffer.from([0x81, text.length])
        : text.length < 65_536
          ? Buffer.from([0x81, 126, text.length >> 8, text.length & 255])
          : Buffer.concat([Buffer.from([0x81, 127, 0, 0, 0, 0]), Buffer.from([(text.length >>> 24) & 255, (text.length >>> 16) & 255, (text.length >>> 8) & 255, text.length & 255])]);
    const frame = Buffer.concat([head, text]);
    for (const socket of to === undefined ? this.sockets : [to]) socket.write(frame);
  }

  private answer(url: string, method: string, authorization: string | undefined, body: string, response: ServerResponse): ServerResponse {
    const { pathname, searchParams } = new URL(url, 'http://fake');
    const json = (value: unknown, status = 200) => response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    const isAdmin = authorization === `Bearer ${TOKEN}`;
    if (pathname === '/api/history') {
      const from = this.atMs - Number(searchParams.get('minutes') ?? 30) * 60_000;
      return json({ points: this.points.filter((point) => point.atMs >= from), events: this.events.filter((event) => event.atMs >= from) });
    }
    if (pathname === '/ws') {
      const detail = `a page of "https://${'loans.'.repeat(20)}example.org" may not do this; if it is the service's own, start the service with --public-url and that address`;
      return this.story.refusesPages ? json({ status: 403, title: 'Forbidden', detail, errorType: 'foreign_origin' }, 403) : json({ status: 405, title: 'Method Not Allowed', errorType: 'method_not_allowed' }, 405);
    }
    if (pathname === '/api/session') return isAdmin ? json({ admin: true }) : json({ status: 403, title: 'Forbidden', errorType: 'forbidden' }, 403);
    if (pathname.startsWith('/api/control') && method === 'POST') {
      this.pause(pathname.endsWith('pause'));
      return json({ paused: this.paused });
    }
    if (pathname === '/api/loans/retry') return json({ requeued: 12, skipped: 0, remaining: 3 });
    const operator = this.operate(pathname, searchParams, body, isAdmin);
    if (operator !== null) return json(operator, 'errorType' in operator ? 409 : pathname === '/api/tasks' && method === 'POST' ? 202 : 200);
    if (pathname === '/api/errors') {
      const [loanId, errorType, limit, cursor] = ['loanId', 'errorType', 'limit', 'cursor'].map((name) => searchParams.get(name));
      const all = this.failures.filter((failure) => failure.loanId.startsWith(loanId ?? '') && (errorType == null || failure.errorType === errorType));
      const end = cursor == null ? all.length : Number(cursor);
      const start = Math.max(0, end - Number(limit ?? 50));
      return json({ errors: all.slice(start, end).reverse(), nextCursor: start > 0 ? String(start) : null });
    }
    if (pathname.startsWith('/api/loans/')) {
      const loanId = decodeURIComponent(pathname.slice(11));
      const loan = loanId === this.recordedId ? this.recorded() : this.failed(loanId, isAdmin);
      return loan === null ? json({ status: 404, title: 'Not Found', detail: 'no loan with this id', errorType: 'not_found' }, 404) : json(loan);
    }
    const file = join(DIST, normalize(pathname === '/' ? '/index.html' : pathname));
    if (!file.startsWith(DIST) || !existsSync(file)) return json({ status: 404, title: 'Not Found' }, 404);
    return response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream' }).end(readFileSync(file));
  }
  /** What operators have asked for, newest first. */
  readonly tasks: Task[] = [];
  /** Filters that were exported. */
  readonly exported: unknown[] = [];
  /** Loans that fail between the count and the next task. */
  failedSince = 0;

  private operate(pathname: string, query: URLSearchParams, body: string, isAdmin: boolean): object | null {
    const found = () => this.failures.filter(({ loanId, errorType }) => loanId.startsWith(query.get('loanId') ?? '') && errorType === (query.get('errorType') ?? errorType)).length;
    const waiting = query.size === 0 ? this.totals.failed : found();
    if (pathname === '/api/errors/count') return { attempts: waiting, loans: waiting, waiting, isExact: true };
    if (pathname === '/api/instances') {
      const at = new Date(this.atMs).toISOString();
      const instances = Array.from({ length: 3 }, (_, index) => ({ instance: `${index}-9f8e7d6c5b4a`, roles: ['api', 'worker', 'persister', 'dashboard'], version: '0.1.0', gitCommit: 'unknown', host: `worker-${index}.loans.example.org`, startedAt: at, seenAt: at, workers: 5, workersMax: 5, doing: [{ worker: 1, state: 'processing', loans: 50, forMs: 12 }] }));
      const partitions = Array.from({ length: 4 }, (_, partition) => ({ partition, queueDepth: 1_234_567, inFlight: 50, oldestWaitingMs: 61_000, failedWaiting: 3, unrecorded: 12, redisUp: partition !== 2 }));
      return { instances, partitions };
    }
    if (!isAdmin) return null;
    if (pathname === '/api/tasks') {
      const asked = JSON.parse(body) as { kind: Task['kind']; expected: number; filter?: FailureFilter };
      if (asked.filter !== undefined && this.failedSince > 0) {
        const found = asked.expected + this.failedSince;
        this.failedSince = 0;
        const detail = `${asked.expected} loans were confirmed, and there are ${found}; nothing was begun: confirm that number, or choose fewer`;
        return { status: 409, title: 'Conflict', detail, errorType: 'more_than_confirmed', found };
      }
      const task: Task = { ...asked, taskId: `t${this.tasks.length}`, phase: 'running', by: 'ada', startedAt: new Date(this.atMs).toISOString(), done: 0, skipped: 0, remaining: asked.expected };
      this.tasks.unshift(task);
      this.tellTasks();
      return task;
    }
    if (pathname.endsWith('/stop')) {
      const task = this.tasks[0];
      if (task !== undefined) task.phase = 'stopped';
      this.tellTasks();
      return task ?? null;
    }
    if (pathname === '/api/exports') {
      this.exported.push(JSON.parse(body));
      this.tasks.unshift({ taskId: `e${this.exported.length}`, kind: 'export', phase: 'running', by: 'ada', startedAt: new Date(this.atMs).toISOString(), expected: 0, done: 0, skipped: 0, remaining: 0 });
      this.tellTasks();
      return { href: '/licences.txt' };
    }
    return null;
  }

  /** Lets the newest task come so far. */
  work(loans: number): void {
    const task = this.tasks[0];
    if (task === undefined) return;
    const step = Math.min(loans, task.remaining);
    task.done += step;
    task.remaining -= step;
    if (task.remaining === 0 && task.kind !== 'export') task.phase = 'done';
    this.tellTasks();
  }

  private tellTasks(): void {
    this.send({ type: 'tasks', tasks: this.tasks });
  }

  /** The id of the one loan that was accepted. */
  get recordedId(): string {
    return this.story.loanId(9_999_999);
  }

  private recorded(): LoanState {
    const [receivedAt, queuedAt, claimedAt, processedAt, recordedAt] = instants(this.atMs - 400, [0, 2, 41, 44, 259]);
    const { name, purpose } = this.story;
    return {
      loanId: this.recordedId,
      status: 'recorded',
      receivedAt,
      steps: [
        { step: 'received', at: receivedAt },
        { step: 'queued', at: queuedAt },
        { step: 'claimed', at: claimedAt },
        { step: 'processed', at: processedAt },
        { step: 'recorded', at: recordedAt },
      ],
      attempts: [],
      result: {
        fingerprint: '8c14e45fceea167a5a36dedd4bea2543',
        attempt: 1,
        amountMinor: 148_018,
        currency: 'DEM',
        termMonths: 6,
        purpose,
        creditScore: 712,
        applicant: { name, email: this.story.email(2), phone: '+49 30 901820 12', annualIncomeMinor: 4_200_000, ageYears: 67 },
        riskBand: 'B',
        annualRateBasisPoints: 850,
        monthlyInstalmentMinor: 25_287,
        debtToIncomeBasisPoints: 722,
        decision: 'approve',
        receivedAt,
        processedAt,
      },
    };
  }

  private failed(loanId: string, isAdmin: boolean): LoanState | null {
    const failure = this.failures.findLast((candidate) => candidate.loanId === loanId);
    if (failure === undefined) return null;
    const failedMs = Date.parse(failure.failedAt);
    const [queuedAt, claimedAt, recordedAt] = instants(failedMs, [-46, -3, 215]);
    const [earlierAt, muchEarlierAt] = instants(failedMs, [-3_600_000, -90_000_000]);
    const earlier = this.story.before.failed === 0 ? [] : [{ ...failure, attempt: 2, failedAt: earlierAt }, { ...failure, attempt: 1, failedAt: muchEarlierAt }];
    return {
      loanId,
      status: 'failed',
      receivedAt: failure.receivedAt,
      steps: [
        { step: 'received', at: failure.receivedAt },
        { step: 'queued', at: queuedAt },
        { step: 'claimed', at: claimedAt },
        { step: 'processed', at: failure.failedAt },
        { step: 'recorded', at: recordedAt },
      ],
      attempts: [{ ...failure, attempt: earlier.length + 1 }, ...earlier],
      ...(isAdmin ? { body: JSON.stringify({ loanId, amount: 1169, currency: 'DEM', termMonths: 6, purpose: this.story.purpose, creditScore: 120, applicant: { name: this.story.name, email: failure.applicantEmail } }) } : {}),
    };
  }
}

/** Some instants after another one, as the service writes them. */
function instants<const T extends readonly number[]>(fromMs: number, afterMs: T): { [K in keyof T]: string } {
  return afterMs.map((ms) => new Date(fromMs + ms).toISOString()) as { [K in keyof T]: string };
}
