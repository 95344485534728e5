// What the charts draw: a row a second in typed arrays of fixed length, so that memory stays flat however long the
// page is open.

import type { Point, Snapshot } from '../api/types';

/** Thirty minutes, a row a second, and some room for seconds that come early. */
export const ROWS_MAX = 1_860;
/** Steps that are missing between two rows make a gap: nothing is known of it. */
export const GAP_STEPS = 3;
/** A measure without a value is drawn on for so many steps, so that a lone value is visible. */
const HOLD_STEPS = 3;

export const COLUMNS = [
  // Counters, as the service tells them.
  'admitted',
  'processed',
  'recorded',
  'failed',
  // Changes per second since the row before.
  'admittedRate',
  'processedRate',
  'recordedRate',
  'failedRate',
  // Values at the instant.
  'queueDepth',
  'inFlight',
  'unrecorded',
  'workers',
  // Latencies in microseconds; NaN where there was nothing to measure.
  'admitP50',
  'admitP99',
  'endToEndP50',
  'endToEndP99',
  // As a load run measures it at the client.
  'clientP50',
  'clientP99',
] as const;

export type Column = (typeof COLUMNS)[number];

export interface Row {
  /** Seconds since the Unix epoch. */
  at: number;
  values: Partial<Record<Column, number | undefined>>;
}

/** A client's latency at one instant, in microseconds. */
export interface ClientLatency {
  at: number;
  p50: number;
  p99: number;
}

const COUNTERS = ['admitted', 'processed', 'recorded', 'failed'] as const;
const RATES = { admitted: 'admittedRate', processed: 'processedRate', recorded: 'recordedRate', failed: 'failedRate' } as const;
const LATENCIES = ['admitP50', 'admitP99', 'endToEndP50', 'endToEndP99', 'clientP50', 'clientP99'] as const;

/**
 * Rows in the order of time. Each column lies in an array of twice the length: rows are added at the end, and when it
 * is full the newest half moves to the front. So a column's rows are always one piece of memory, which the charts take
 * as it is, and no row is allocated.
 */
export class Series {
  private readonly time = new Float64Array(2 * ROWS_MAX);
  private readonly columns: Record<Column, Float64Array>;
  private start = 0;
  private end = 0;
  private clientLatency: ClientLatency | null = null;

  constructor(
    /** Seconds between two rows. */
    public stepSeconds = 1,
  ) {
    this.columns = Object.fromEntries(COLUMNS.map((name) => [name, new Float64Array(2 * ROWS_MAX)])) as Record<
      Column,
      Float64Array
    >;
  }

  get length(): number {
    return this.end - this.start;
  }

  /** Times in seconds; a view, valid until the next row is added. */
  get times(): Float64Array {
    return this.time.subarray(this.start, this.end);
  }

  /** A column's values; a view, valid until the next row is added. */
  column(name: Column): Float64Array {
    return this.columns[name].subarray(this.start, this.end);
  }

  lastTime(): number | null {
    return this.length === 0 ? null : (this.time[this.end - 1] ?? null);
  }

  /** Adds a row; one that is not newer than the last is dropped. */
  push(row: Row): boolean {
    const last = this.lastTime();
    if (last !== null && row.at <= last) return false;
    if (this.end === this.time.length) this.compact();
    const index = this.end;
    const seconds = last === null ? 0 : row.at - last;
    this.time[index] = row.at;
    for (const name of COLUMNS) this.columns[name][index] = row.values[name] ?? 0;
    for (const name of COUNTERS) {
      const before = last === null ? undefined : this.columns[name][index - 1];
      const now = row.values[name] ?? 0;
      // A counter that falls belongs to an emptied Redis.
      const rate = before === undefined || now < before ? 0 : (now - before) / seconds;
      this.columns[RATES[name]][index] = row.values[RATES[name]] ?? rate;
    }
    for (const name of LATENCIES) {
      const value = row.values[name];
      this.columns[name][index] = value === undefined || value <= 0 ? Number.NaN : value;
    }
    this.end += 1;
    if (this.length > ROWS_MAX) this.start = this.end - ROWS_MAX;
    if (this.clientLatency !== null && Math.abs(row.at - this.clientLatency.at) < 2) this.setClient(index, this.clientLatency);
    return true;
  }

  /** Replaces the newest row. */
  amend(row: Row): void {
    if (this.length > 0) this.end -= 1;
    this.push(row);
  }

  /**
   * Puts a stretch of history in: it wins where it reaches; rows of before and after it stay. So a gap is filled, and
   * what a restarted service has forgotten is kept.
   */
  merge(points: readonly Point[]): void {
    const first = points[0];
    const last = points.at(-1);
    if (first === undefined || last === undefined) return;
    const from = first.atMs / 1000 - 0.5;
    const to = last.atMs / 1000 + 0.5;
    const kept = this.rows();
    this.start = 0;
    this.end = 0;
    const latency = this.clientLatency;
    this.clientLatency = null;
    for (const row of kept) if (row.at < from) this.push(withoutRates(row));
    for (const point of points) this.push(rowOfPoint(point));
    for (const row of kept) if (row.at > to) this.push(withoutRates(row));
    // The client's latency is not part of the history's points.
    for (const row of kept) {
      const p50 = row.values.clientP50;
      const p99 = row.values.clientP99;
      if (p50 === undefined || p99 === undefined) continue;
      const index = this.start + this.nearest(row.at);
      if (Math.abs((this.time[index] ?? 0) - row.at) < 0.6) this.setClient(index, { at: row.at, p50, p99 });
    }
    this.clientLatency = latency;
  }

  /** Has these rows, with so many seconds between two, and no others. */
  replace(points: readonly Point[], stepSeconds: number): void {
    this.stepSeconds = stepSeconds;
    this.start = 0;
    this.end = 0;
    for (const point of points) this.push(rowOfPoint(point));
  }

  /** Moves all rows in time: the clock that they were read from was set. */
  shift(seconds: number): void {
    for (let index = this.start; index < this.end; index += 1) this.time[index] = (this.time[index] ?? 0) + seconds;
    if (this.clientLatency !== null) this.clientLatency = { ...this.clientLatency, at: this.clientLatency.at + seconds };
  }

  /** Notes what a load run has measured in the second that ends at its time. */
  addClientLatency(latency: ClientLatency): void {
    if (this.clientLatency === null || latency.at > this.clientLatency.at) this.clientLatency = latency;
    for (let index = this.end - 1; index >= this.start; index -= 1) {
      const at = this.time[index] ?? 0;
      if (at <= latency.at - 1.5) break;
      if (at <= latency.at + 0.5) this.setClient(index, latency);
    }
  }

  /** The index of the row nearest to a time. */
  nearest(at: number): number {
    const times = this.times;
    const index = lowerBound(times, at);
    if (index >= times.length) return times.length - 1;
    const before = times[index - 1];
    return before !== undefined && at - before < (times[index] ?? at) - at ? index - 1 : index;
  }

  private setClient(index: number, latency: ClientLatency): void {
    this.columns.clientP50[index] = latency.p50;
    this.columns.clientP99[index] = latency.p99;
  }

  private compact(): void {
    const from = Math.max(this.start, this.end - ROWS_MAX);
    this.time.copyWithin(0, from, this.end);
    for (const name of COLUMNS) this.columns[name].copyWithin(0, from, this.end);
    this.end -= from;
    this.start = 0;
  }

  private rows(): Row[] {
    return Array.from(this.times, (at, offset) => {
      const known = COLUMNS.map((name) => [name, this.columns[name][this.start + offset] ?? 0] as const);
      return { at, values: Object.fromEntries(known.filter(([, value]) => !Number.isNaN(value))) };
    });
  }
}

/** The row with its rates left to be computed from the row before it. */
function withoutRates(row: Row): Row {
  return { at: row.at, values: { ...row.values, admittedRate: undefined, processedRate: undefined, recordedRate: undefined, failedRate: undefined } };
}

export function rowOfPoint(point: Point): Row {
  return {
    at: point.atMs / 1000,
    values: {
      admitted: point.admitted,
      processed: point.processed,
      recorded: point.recorded,
      failed: point.failed,
      queueDepth: point.queueDepth,
      inFlight: point.inFlight,
      unrecorded: point.unrecorded,
      workers: point.workers,
      admitP50: point.admitP50Us,
      admitP99: point.admitP99Us,
      endToEndP50: point.endToEndP50Us,
      endToEndP99: point.endToEndP99Us,
    },
  };
}

export function rowOfSnapshot(snapshot: Snapshot): Row {
  const { counters, gauges, recentLatencyUs } = snapshot;
  return {
    at: snapshot.atMs / 1000,
    values: {
      admitted: counters.admitted,
      processed: counters.processed,
      recorded: counters.recordedLoans + counters.recordedFailures,
      failed: sum(Object.values(counters.failed)),
      queueDepth: gauges.queueDepth,
      inFlight: gauges.inFlight,
      unrecorded: gauges.unrecorded,
      workers: gauges.workers,
      admitP50: recentLatencyUs.admit.p50,
      admitP99: recentLatencyUs.admit.p99,
      endToEndP50: recentLatencyUs.endToEnd.p50,
      endToEndP99: recentLatencyUs.endToEnd.p99,
    },
  };
}

/**
 * Adds a live snapshot. Rows are a second apart; the newest is provisional and follows each snapshot, with the rates
 * that the service measures over the last second.
 */
export class LiveTail {
  private settled = 0;

  constructor(private readonly series: Series) {}

  /** After history was merged: the newest row is settled. */
  reset(): void {
    this.settled = this.series.lastTime() ?? 0;
  }

  /** The rows have moved in time. */
  shift(seconds: number): void {
    this.settled += seconds;
  }

  add(snapshot: Snapshot): void {
    const row = rowOfSnapshot(snapshot);
    const last = this.series.lastTime() ?? 0;
    if (row.at <= last) return;
    if (row.at - this.settled >= 0.95) {
      // The provisional row becomes the settled one of this second: its rate is the change since the last.
      this.replaceTail(row);
      this.settled = row.at;
    } else {
      const { rates } = snapshot;
      this.replaceTail({
        at: row.at,
        values: { ...row.values, admittedRate: rates.admitted, processedRate: rates.processed, recordedRate: rates.recorded },
      });
    }
  }

  private replaceTail(row: Row): void {
    if ((this.series.lastTime() ?? 0) > this.settled) this.series.amend(row);
    else this.series.push(row);
  }
}

/** Where a column has nothing to draw, as pairs of indices: the line breaks between the two. */
export function gaps(times: Float64Array, values: Float64Array | null, from: number, to: number, stepSeconds = 1): [number, number][] {
  const found: [number, number][] = [];
  let lastKnown = -1;
  for (let index = from; index <= to; index += 1) {
    if (values !== null && Number.isNaN(values[index])) continue;
    if (lastKnown >= 0) {
      const seconds = (times[index] ?? 0) - (times[lastKnown] ?? 0);
      if (seconds > GAP_STEPS * stepSeconds) found.push([lastKnown, index]);
    } else if (index > from && values !== null) {
      found.push([from, index]);
    }
    lastKnown = index;
  }
  if (lastKnown < 0) return values === null ? [] : [[from, to]];
  if (values !== null && lastKnown < to && (times[to] ?? 0) - (times[lastKnown] ?? 0) > HOLD_STEPS * stepSeconds) {
    found.push([lastKnown, to]);
  }
  return found;
}

export function lowerBound(sorted: Float64Array, value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] ?? 0) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
