// Load runs, as their markers tell them.

import type { LiveEvent } from '../api/types';

export interface Phase {
  name: string;
  atMs: number;
}

export interface Run {
  runId: string;
  scenario: string;
  /** The first marker that was seen: the page may have been opened during the run. */
  fromMs: number;
  /** `null` while it goes on. */
  endedAtMs: number | null;
  verdict: string | null;
  phases: Phase[];
  faults: Phase[];
}

/** The runs in a list of events, in the order of their begin. */
export function runsOf(events: readonly LiveEvent[]): Run[] {
  const runs = new Map<string, Run>();
  for (const event of events) {
    if (event.kind !== 'run') continue;
    let run = runs.get(event.runId);
    if (run === undefined) {
      run = { runId: event.runId, scenario: event.scenario, fromMs: event.atMs, endedAtMs: null, verdict: null, phases: [], faults: [] };
      runs.set(event.runId, run);
    }
    const name = event.name ?? '';
    if (event.marker === 'phase') run.phases.push({ name, atMs: event.atMs });
    if (event.marker === 'fault') run.faults.push({ name, atMs: event.atMs });
    if (event.marker === 'end') {
      run.endedAtMs = event.atMs;
      run.verdict = event.verdict ?? null;
    }
  }
  return [...runs.values()];
}

/** A run without a sign of life for this long has been cut off. */
const SILENT_AFTER_MS = 30 * 60_000;

/** The run that goes on, if one does. */
export function runningAt(runs: readonly Run[], nowMs: number): Run | null {
  const last = runs.at(-1);
  if (last?.endedAtMs !== null) return null;
  const signs = [...last.phases, ...last.faults].map((sign) => sign.atMs);
  return nowMs - Math.max(last.fromMs, ...signs) < SILENT_AFTER_MS ? last : null;
}
