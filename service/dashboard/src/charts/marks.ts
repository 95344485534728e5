// What is drawn over the lines: gaps, a run's phases and faults, scaling steps.

import type uPlot from 'uplot';
import type { LiveEvent } from '../api/types';
import type { Run } from '../live/runs';
import { gaps } from '../live/series';
import type { Palette } from './palette';

/** Height of the lane above the first chart that names a run's phases, in CSS pixels. */
export const LANE_HEIGHT = 20;
const FONT = '"Geist Variable", system-ui, sans-serif';

export interface Mark {
  /** Seconds. */
  at: number;
  kind: 'phase' | 'fault' | 'start' | 'end' | 'scale' | 'pause' | 'resume';
  label: string;
}

/** Everything with an instant, in words. */
export function marksOf(events: readonly LiveEvent[]): Mark[] {
  const marks: Mark[] = [];
  for (const event of events) {
    const at = event.atMs / 1000;
    if (event.kind === 'scale') marks.push({ at, kind: 'scale', label: `workers ${event.from} → ${event.to}: ${event.reason}` });
    else if (event.kind === 'pause') marks.push({ at, kind: 'pause', label: 'ingestion paused' });
    else if (event.kind === 'resume') marks.push({ at, kind: 'resume', label: 'ingestion resumed' });
    else if (event.kind === 'run' && event.marker === 'start') marks.push({ at, kind: 'start', label: `run of ${event.scenario} begins` });
    else if (event.kind === 'run' && event.marker === 'phase') marks.push({ at, kind: 'phase', label: `phase ${event.name ?? ''}` });
    else if (event.kind === 'run' && event.marker === 'fault') marks.push({ at, kind: 'fault', label: event.name ?? 'fault' });
    else if (event.kind === 'run' && event.marker === 'end') marks.push({ at, kind: 'end', label: `run ends: ${event.verdict ?? 'no verdict'}` });
  }
  return marks;
}

/** The marks within `reach` seconds of an instant. */
export function marksNear(marks: readonly Mark[], at: number, reach: number): Mark[] {
  return marks.filter((mark) => Math.abs(mark.at - at) <= reach);
}

export interface Canvas {
  chart: uPlot;
  ratio: number;
  palette: Palette;
}

/** Hatches the stretches that nothing is known of, up to the right edge. */
export function drawUnknown({ chart, ratio, palette }: Canvas, stepSeconds: number, from: number, to: number): void {
  const times = chart.data[0] as Float64Array;
  const stretches: [number, number][] = gaps(times, null, 0, times.length - 1, stepSeconds).map(([a, b]) => [times[a] ?? 0, times[b] ?? 0]);
  const last = times[times.length - 1];
  if (last !== undefined && to - last > 3 * stepSeconds) stretches.push([last, to]);
  const first = times[0];
  // Of days nothing is known before the service was there; of minutes that is what the page has not heard.
  if (stepSeconds > 1) stretches.push([from, first ?? to]);
  const { ctx } = chart;
  const { top, height, left, width } = chart.bbox;
  for (const [begin, end] of stretches) {
    if (end < from || begin > to) continue;
    const x0 = Math.max(left, chart.valToPos(begin, 'x', true));
    const x1 = Math.min(left + width, chart.valToPos(end, 'x', true));
    ctx.save();
    ctx.beginPath();
    ctx.rect(x0, top, x1 - x0, height);
    ctx.clip();
    ctx.strokeStyle = palette.hatch;
    ctx.lineWidth = ratio;
    ctx.beginPath();
    const step = 7 * ratio;
    const firstX = Math.floor((x0 - height) / step) * step;
    for (let x = firstX; x < x1; x += step) {
      ctx.moveTo(x, top + height);
      ctx.lineTo(x + height, top);
    }
    ctx.stroke();
    ctx.restore();
  }
}

/** Vertical lines at a run's phases, faults and end, and at pauses. */
export function drawLines({ chart, ratio, palette }: Canvas, marks: readonly Mark[], from: number, to: number): void {
  const { ctx } = chart;
  const { top, height } = chart.bbox;
  ctx.save();
  ctx.lineWidth = ratio;
  for (const mark of marks) {
    if (mark.at < from || mark.at > to || mark.kind === 'scale') continue;
    const x = Math.round(chart.valToPos(mark.at, 'x', true)) + 0.5;
    ctx.strokeStyle = mark.kind === 'fault' ? palette.bad : mark.kind === 'pause' || mark.kind === 'resume' ? palette.warn : palette.mark;
    ctx.setLineDash(mark.kind === 'fault' ? [] : [3 * ratio, 3 * ratio]);
    ctx.beginPath();
    ctx.moveTo(x, top);
    ctx.lineTo(x, top + height);
    ctx.stroke();
  }
  ctx.restore();
}

/** The lane above the first chart: each phase a bar with its name, each fault a flag, the verdict at the end. */
export function drawLane({ chart, ratio, palette }: Canvas, runs: readonly Run[], from: number, to: number): void {
  const { ctx } = chart;
  const { top, left, width } = chart.bbox;
  const height = (LANE_HEIGHT - 4) * ratio;
  const y = top - LANE_HEIGHT * ratio;
  const position = (at: number) => chart.valToPos(at, 'x', true);
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, 0, width, top);
  ctx.clip();
  ctx.font = `500 ${11 * ratio}px ${FONT}`;
  ctx.textBaseline = 'middle';
  ctx.textAlign = 'left';
  const bar = (begin: number, end: number, text: string, fill: string, ink: string) => {
    if (end < from || begin > to) return;
    const x0 = position(begin);
    const x1 = Math.max(x0 + 2 * ratio, position(end) - ratio);
    ctx.fillStyle = fill;
    ctx.beginPath();
    ctx.roundRect(x0, y, x1 - x0, height, 3 * ratio);
    ctx.fill();
    // The name stays in sight while any of its bar does.
    const textX = Math.max(x0, left) + 6 * ratio;
    if (ctx.measureText(text).width < x1 - textX - 2 * ratio) {
      ctx.fillStyle = ink;
      ctx.fillText(text, textX, y + height / 2 + ratio * 0.5);
    }
  };
  for (const run of runs) {
    const end = run.endedAtMs === null ? to : run.endedAtMs / 1000;
    const phases = run.phases.length > 0 ? run.phases : [{ name: run.scenario, atMs: run.fromMs }];
    phases.forEach((phase, index) => {
      const next = phases[index + 1];
      bar(phase.atMs / 1000, next === undefined ? end : next.atMs / 1000, phase.name, palette.phase, palette.ink);
    });
  }
  // Over the bars of whatever comes next.
  for (const run of runs) {
    for (const fault of run.faults) flag(ctx, position(fault.atMs / 1000), y, height, ratio, palette.bad);
    if (run.endedAtMs !== null && run.verdict !== null) {
      const x = position(run.endedAtMs / 1000) + 4 * ratio;
      const text = run.verdict;
      const wide = ctx.measureText(text).width + 12 * ratio;
      ctx.fillStyle = run.verdict === 'pass' ? palette.good : run.verdict === 'fail' ? palette.bad : palette.warn;
      ctx.beginPath();
      ctx.roundRect(x, y, wide, height, 3 * ratio);
      ctx.fill();
      ctx.fillStyle = palette.surface;
      ctx.fillText(text, x + 6 * ratio, y + height / 2 + ratio * 0.5);
    }
  }
  ctx.restore();
}

function flag(ctx: CanvasRenderingContext2D, x: number, y: number, height: number, ratio: number, colour: string): void {
  ctx.fillStyle = colour;
  ctx.beginPath();
  ctx.moveTo(x, y);
  ctx.lineTo(x + 9 * ratio, y + height / 3);
  ctx.lineTo(x, y + (2 * height) / 3);
  ctx.closePath();
  ctx.fill();
}

/** A triangle at each scaling step: up or down. */
export function drawScaling({ chart, ratio, palette }: Canvas, events: readonly LiveEvent[], from: number, to: number): void {
  const { ctx } = chart;
  const { top, height } = chart.bbox;
  ctx.save();
  ctx.fillStyle = palette.workers;
  ctx.strokeStyle = palette.surface;
  ctx.lineWidth = 1.5 * ratio;
  for (const event of events) {
    const at = event.atMs / 1000;
    if (event.kind !== 'scale' || at < from || at > to) continue;
    const x = chart.valToPos(at, 'x', true);
    const isUp = event.to > event.from;
    const y = top + height - 5 * ratio;
    const size = 5 * ratio;
    const tip = isUp ? -1 : 1;
    ctx.beginPath();
    ctx.moveTo(x, y + tip * size);
    ctx.lineTo(x - size, y - tip * size * 0.7);
    ctx.lineTo(x + size, y - tip * size * 0.7);
    ctx.closePath();
    ctx.stroke();
    ctx.fill();
  }
  ctx.restore();
}
