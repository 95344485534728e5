// History of days: asked of the service when somebody wants to see it, and again while it is in sight.

import { fetchHistory } from '../api/client';
import type { LiveEvent } from '../api/types';
import { runsOf, type Run } from './runs';
import { Series } from './series';

/** A new point comes once a minute. */
const AGAIN_MS = 60_000;
/** When it did not come. */
const SOON_MS = 5_000;

export class Days {
  readonly series = new Series(60);
  events: readonly LiveEvent[] = [];
  runs: readonly Run[] = [];
  /** Grows with every change of the rows. */
  revision = 0;
  private minutes = 0;
  private again: ReturnType<typeof setTimeout> | undefined;

  /** Shows so many minutes from now on; 0: nobody looks any more. */
  show(minutes: number): void {
    if (minutes === this.minutes) return;
    clearTimeout(this.again);
    this.minutes = minutes;
    if (minutes > 0) void this.ask(minutes);
  }

  private async ask(minutes: number): Promise<void> {
    let waitMs = AGAIN_MS;
    try {
      const history = await fetchHistory(minutes);
      if (minutes !== this.minutes) return;
      this.series.replace(history.points, history.stepSeconds ?? 60);
      this.events = history.events;
      this.runs = runsOf(history.events);
      this.revision += 1;
    } catch {
      waitMs = SOON_MS;
    }
    if (minutes === this.minutes) this.again = setTimeout(() => void this.ask(minutes), waitMs);
  }
}
