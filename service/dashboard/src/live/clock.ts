// The service's wall clock, seen from this page. People and programs set clocks, the service's and this machine's, at any
// time and in either direction: lengths come from clocks that nobody sets. Pure.

import type { Snapshot } from '../api/types';

/** A clock that moves less than this against the process's own has drifted or was slewed, not set. */
const SET_LEAST_MS = 500;
/** A slewed clock gains or loses at most this part of the time that passes. */
const SLEW_MOST = 0.001;
/** Another process's snapshot may have been on its way this long: less is no step back. */
const LATE_MOST_MS = 2_000;
/** Snapshots arrive late, never early: an earlier one is believed at once, later ones slowly. */
const SLIP = 0.01;

interface Seen {
  instance: string;
  atMs: number;
  uptimeMs: number;
  /** When it arrived, on this page's monotonic clock. */
  heardMs: number;
}

export class ServiceClock {
  private seen: Seen | null = null;
  /** How far the service's wall clock is ahead of this page's monotonic one. */
  private aheadMs = 0;

  /** The service's wall clock when this page's monotonic one shows `monotonicMs`. */
  at(monotonicMs: number): number {
    return monotonicMs + this.aheadMs;
  }

  /**
   * Takes in a snapshot that arrived at `heardMs` of the monotonic clock. Answers by how many milliseconds the service's
   * wall clock was set since the one before, 0 when only time has passed: what was told before belongs so much later.
   */
  see(snapshot: Pick<Snapshot, 'instance' | 'atMs' | 'uptimeSeconds'>, heardMs: number): number {
    const now: Seen = { instance: snapshot.instance, atMs: snapshot.atMs, uptimeMs: snapshot.uptimeSeconds * 1_000, heardMs };
    const before = this.seen;
    this.seen = now;
    const observedMs = now.atMs - heardMs;
    const setByMs = before === null ? 0 : this.setBy(before, now);
    if (before === null || setByMs !== 0 || observedMs > this.aheadMs) this.aheadMs = observedMs;
    else this.aheadMs += (observedMs - this.aheadMs) * SLIP;
    return setByMs;
  }

  private setBy(before: Seen, now: Seen): number {
    const toldMs = now.atMs - before.atMs;
    if (now.instance !== before.instance || now.uptimeMs < before.uptimeMs) {
      // Another process has another uptime. That time ran on while nobody was heard is likely, that it ran back is not.
      const backMs = now.atMs - this.at(now.heardMs);
      return backMs < -LATE_MOST_MS ? backMs : 0;
    }
    const ranMs = now.uptimeMs - before.uptimeMs;
    // A machine that slept counts no uptime; this page's clock, on another machine, went on.
    const passedMs = toldMs > ranMs ? Math.max(ranMs, Math.min(toldMs, now.heardMs - before.heardMs)) : ranMs;
    const movedMs = toldMs - passedMs;
    return Math.abs(movedMs) > SET_LEAST_MS + SLEW_MOST * passedMs ? movedMs : 0;
  }
}

/**
 * Instants that were told one after the other. Where one is later than the next by `slackMs` or more, the clock was set
 * back between the two: it moves back to `apartMs` before the next, and all before it as far. None is later than `endMs`.
 */
export function inOrder(toldMs: readonly number[], endMs: number, { apartMs, slackMs }: { apartMs: number; slackMs: number }): number[] {
  const ordered = [...toldMs];
  let setBackMs = 0;
  let nextMs = endMs;
  for (let index = ordered.length - 1; index >= 0; index -= 1) {
    const toldAt = (toldMs[index] ?? 0) - setBackMs;
    const isAfterNext = toldAt >= nextMs + slackMs;
    const at = isAfterNext ? nextMs - apartMs : toldAt;
    setBackMs += toldAt - at;
    ordered[index] = at;
    nextMs = Math.min(nextMs, at);
  }
  return ordered;
}
