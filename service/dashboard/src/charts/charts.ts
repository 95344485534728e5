// The three charts: one time axis, one cursor, one loop that draws them when there is something new to see.

import uPlot from 'uplot';
import { clock, count, day, latency, rate } from '../format';
import type { LiveEvent } from '../api/types';
import { Days } from '../live/days';
import type { Run } from '../live/runs';
import type { Live } from '../live/store';
import { gaps, lowerBound, ROWS_MAX, type Column, type Series } from '../live/series';
import { drawLane, drawLines, drawScaling, drawUnknown, LANE_HEIGHT, marksNear, marksOf, type Canvas, type Mark } from './marks';
import { readPalette, type Palette } from './palette';
import { calmTop, decades, decadeTicks, linearTicks, timeStep } from './scale';
import { isOfDays, rangeAt, zoomBy, zoomTo, type Span, type View } from './window';

export type ChartName = 'rates' | 'queue' | 'latency';

interface Line {
  column: Column;
  label: string;
  scale: 'y' | 'workers';
  stroke: (palette: Palette) => string;
  fill?: (palette: Palette) => string;
  width: number;
  dash?: number[];
  stepped?: boolean;
  format: (value: number) => string;
}

const perSecond = (value: number) => `${rate(value)}/s`;

/** The lines of each chart, in the order of drawing. */
export const LINES: Record<ChartName, readonly Line[]> = {
  rates: [
    { column: 'recordedRate', label: 'Recorded', scale: 'y', stroke: (p) => p.recorded, fill: (p) => p['recorded-fill'], width: 1.5, format: perSecond },
    { column: 'admittedRate', label: 'Ingested', scale: 'y', stroke: (p) => p.ingested, width: 2, format: perSecond },
    // Dashed, so that it and the line beneath are both seen where they run together.
    { column: 'processedRate', label: 'Processed', scale: 'y', stroke: (p) => p.processed, width: 2, dash: [5, 4], format: perSecond },
  ],
  queue: [
    { column: 'queueDepth', label: 'Queued', scale: 'y', stroke: (p) => p.queue, fill: (p) => p['queue-fill'], width: 1.5, format: count },
    { column: 'unrecorded', label: 'Unrecorded', scale: 'y', stroke: (p) => p.recorded, width: 1.5, dash: [5, 4], format: count },
    { column: 'workers', label: 'Workers', scale: 'workers', stroke: (p) => p.workers, width: 1.5, stepped: true, format: count },
  ],
  latency: [
    { column: 'admitP50', label: 'Admit p50', scale: 'y', stroke: (p) => p.admit, width: 1, dash: [2, 3], format: latency },
    { column: 'admitP99', label: 'Admit p99', scale: 'y', stroke: (p) => p.admit, width: 2, format: latency },
    { column: 'endToEndP50', label: 'End to end p50', scale: 'y', stroke: (p) => p['end-to-end'], width: 1, dash: [2, 3], format: latency },
    { column: 'endToEndP99', label: 'End to end p99', scale: 'y', stroke: (p) => p['end-to-end'], width: 2, format: latency },
    { column: 'clientP50', label: 'Client p50', scale: 'y', stroke: (p) => p.client, width: 1, dash: [2, 3], format: latency },
    { column: 'clientP99', label: 'Client p99', scale: 'y', stroke: (p) => p.client, width: 2, dash: [6, 3], format: latency },
  ],
};

/** The same, in the order of reading: a loan is ingested, processed, recorded. */
export const LEGEND: Record<ChartName, readonly Line[]> = {
  ...LINES,
  rates: (['admittedRate', 'processedRate', 'recordedRate'] as const).flatMap((column) => LINES.rates.filter((line) => line.column === column)),
};

export const CHART_NAMES: readonly ChartName[] = ['rates', 'queue', 'latency'];

/** Rows, and what happened meanwhile. */
interface Source {
  series: Series;
  revision: number;
  events: readonly LiveEvent[];
  runs: readonly Run[];
}

interface Mounted {
  name: ChartName;
  chart: uPlot;
  box: HTMLElement;
  readouts: Map<Column, HTMLElement>;
  tip: HTMLElement | null;
  /** For columns with holes: what is drawn instead of nothing, hidden by a gap. */
  scratch: Map<Column, Float64Array>;
  top: number;
  observer: ResizeObserver;
}

// uPlot's enumerations exist in its types alone.
// eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment -- the two are the same number
const LOGARITHMIC: uPlot.Scale.Distr = 3;
// eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment -- the two are the same number
const RIGHT: uPlot.Axis.Side = 1;
const AXIS_FONT = '11px "Geist Variable", system-ui, sans-serif';

/** Shared by the charts of the page; lives as long as it. */
export class Charts {
  view: View;
  private mounted: Mounted[] = [];
  private palette: Palette | null = null;
  private marks: Mark[] = [];
  private markedEvents: unknown = null;
  private drawnRevision = -1;
  private drawnTo = 0;
  private isForced = true;
  private frame = 0;
  private hoverAt: number | null = null;
  private isHoverByKey = false;
  private range: [number, number] = [0, 1];
  private readonly listeners = new Set<() => void>();

  private readonly days = new Days();

  constructor(
    private readonly live: Live,
    span: Span,
  ) {
    this.view = { mode: 'live', span };
    this.days.show(isOfDays(span) ? span / 60 : 0);
    live.onClockSet((setByMs) => this.shift(setByMs / 1_000));
  }

  /** The service's clock was set: what was zoomed into stays in sight. */
  private shift(seconds: number): void {
    const { view } = this;
    if (view.mode === 'fixed') this.setView({ ...view, from: view.from + seconds, to: view.to + seconds });
    if (this.hoverAt !== null) this.hoverAt += seconds;
  }

  /** What is drawn: the last half hour, or days. */
  private get source(): Source {
    if (isOfDays(this.view.span)) return this.days;
    const { series, revision, state } = this.live;
    return { series, revision, events: state.events, runs: state.runs };
  }

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  setView(view: View): void {
    this.view = view;
    this.days.show(isOfDays(view.span) ? view.span / 60 : 0);
    this.isForced = true;
    for (const chart of this.mounted) chart.top = 0;
    for (const listener of this.listeners) listener();
  }

  setSpan(span: Span): void {
    this.setView({ mode: 'live', span });
  }

  zoom(around: number | null, factor: number): void {
    const now = this.live.nowMs() / 1000;
    const [from, to] = this.range;
    this.setView(zoomBy(this.view, now, around ?? this.hoverAt ?? (from + to) / 2, factor));
  }

  /** The theme or the font changed. */
  repaint(): void {
    this.palette = readPalette();
    this.isForced = true;
  }

  /** Draws a chart into `box` until the returned function is called. */
  mount(name: ChartName, box: HTMLElement): () => void {
    this.palette ??= readPalette();
    const chart = new uPlot(this.options(name, box), this.data(name, null), box);
    const observer = new ResizeObserver(() => {
      chart.setSize({ width: box.clientWidth, height: box.clientHeight });
      this.isForced = true;
    });
    const panel = box.closest('[aria-roledescription]') ?? box;
    const readouts = new Map<Column, HTMLElement>();
    for (const element of panel.querySelectorAll<HTMLElement>('[data-column]')) readouts.set(element.dataset.column as Column, element);
    const mounted: Mounted = { name, chart, box, readouts, tip: panel.querySelector('[data-tip]'), scratch: new Map(), top: 0, observer };
    this.mounted.push(mounted);
    observer.observe(box);
    this.isForced = true;
    if (this.frame === 0) this.frame = requestAnimationFrame(this.tick);
    return () => {
      observer.disconnect();
      chart.destroy();
      this.mounted = this.mounted.filter((other) => other !== mounted);
      if (this.mounted.length === 0) {
        cancelAnimationFrame(this.frame);
        this.frame = 0;
      }
    };
  }

  /** Moves the cursor by rows, for the keyboard; answers when that row is of, in seconds, and what stands there, in words. */
  step(name: ChartName, rows: number): { at: number; text: string } {
    const { series } = this.source;
    if (series.length === 0) return { at: 0, text: 'No data yet.' };
    const [from, to] = this.range;
    const start = series.nearest(this.hoverAt ?? to);
    const first = lowerBound(series.times, from);
    const index = Math.min(series.length - 1, Math.max(first, this.hoverAt === null ? start : start + rows));
    const at = series.times[index] ?? to;
    this.hoverAt = at;
    this.isHoverByKey = true;
    this.isForced = true;
    return { at, text: this.describe(name, index) };
  }

  leave(): void {
    this.hoverAt = null;
    this.isHoverByKey = false;
    for (const { chart } of this.mounted) chart.setCursor({ left: -10, top: -10 }, false);
    this.isForced = true;
  }

  /** A chart's newest values in words, for those who cannot see it. */
  summary(name: ChartName): string {
    const { series } = this.source;
    return series.length === 0 ? 'no data yet' : this.describe(name, series.length - 1);
  }

  private describe(name: ChartName, index: number): string {
    const { series } = this.source;
    const at = series.times[index] ?? 0;
    const values = LINES[name]
      .map((line) => ({ line, value: series.column(line.column)[index] ?? Number.NaN }))
      .filter(({ value }) => !Number.isNaN(value))
      .map(({ line, value }) => `${line.label} ${line.format(value)}`);
    const marks = marksNear(this.marks, at, 1).map((mark) => mark.label);
    return [this.when(at), ...values, ...marks].join(', ');
  }

  /** An instant in words; of days with its date. */
  private when(at: number): string {
    return isOfDays(this.view.span) ? `${day(at * 1000)} ${clock(at * 1000).slice(0, 5)}` : clock(at * 1000);
  }

  private readonly tick = (): void => {
    this.frame = requestAnimationFrame(this.tick);
    const { live } = this;
    const source = this.source;
    const first = this.mounted[0];
    // Days begin empty, and say so by what is hatched.
    if (first === undefined || live.series.length === 0) return;
    const now = live.nowMs() / 1000;
    const [from, to] = rangeAt(this.view, now);
    const pixels = first.chart.bbox.width;
    const hasMoved = Math.abs(to - this.drawnTo) * pixels >= 0.5 * (to - from) && this.view.mode === 'live';
    const hasChanged = source.revision !== this.drawnRevision || source.events !== this.markedEvents;
    if (!this.isForced && !hasMoved && !hasChanged) return;
    this.isForced = false;
    this.drawnRevision = source.revision;
    this.drawnTo = to;
    this.range = [from, to];
    if (this.markedEvents !== source.events) {
      this.markedEvents = source.events;
      this.marks = marksOf(source.events);
    }
    for (const mounted of this.mounted) this.draw(mounted, from, to);
    this.showReadouts();
  };

  private draw(mounted: Mounted, from: number, to: number): void {
    const { chart, name } = mounted;
    chart.batch(() => {
      chart.setData(this.data(name, mounted), false);
      chart.setScale('x', { min: from, max: to });
    });
    if (this.isHoverByKey && this.hoverAt !== null) {
      chart.setCursor({ left: chart.valToPos(this.hoverAt, 'x'), top: 4 }, false);
    }
  }

  private data(name: ChartName, mounted: Mounted | null): uPlot.AlignedData {
    const { series } = this.source;
    const columns = LINES[name].map((line) => {
      const values = series.column(line.column);
      return name === 'latency' && mounted !== null ? held(values, mounted.scratch, line.column) : values;
    });
    return [series.times, ...columns];
  }

  /** Shows the values under the cursor, or the newest. */
  private showReadouts(): void {
    const { series } = this.source;
    const index = this.hoverAt === null ? series.length - 1 : series.nearest(this.hoverAt);
    const at = series.times[index] ?? 0;
    const [from, to] = this.range;
    for (const { name, readouts, tip, chart } of this.mounted) {
      for (const line of LINES[name]) {
        const element = readouts.get(line.column);
        if (element === undefined) continue;
        const value = series.column(line.column)[index] ?? Number.NaN;
        const text = Number.isNaN(value) ? '–' : line.format(value);
        if (element.textContent !== text) element.textContent = text;
      }
      if (tip === null) continue;
      const isHidden = this.hoverAt === null;
      if (tip.hidden !== isHidden) tip.hidden = isHidden;
      if (isHidden) continue;
      const pixels = chart.bbox.width / uPlot.pxRatio;
      const near = marksNear(this.marks, at, Math.max(0.6, (5 * (to - from)) / Math.max(1, pixels)));
      const shown = near.filter((mark) => name !== 'latency' || mark.kind !== 'scale').slice(-4);
      const text = [this.when(at), ...shown.map((mark) => mark.label)].join('\n');
      if (tip.textContent !== text) tip.textContent = text;
      const left = chart.valToPos(at, 'x') + chart.bbox.left / uPlot.pxRatio;
      const isRight = left > chart.width * 0.6;
      tip.style.transform = `translateX(${Math.round(left)}px) translateX(${isRight ? 'calc(-100% - 8px)' : '8px'})`;
    }
  }

  private options(name: ChartName, box: HTMLElement): uPlot.Options {
    const palette = () => this.palette ?? readPalette();
    const isNarrow = box.clientWidth < 560;
    const left = isNarrow ? 44 : 58;
    const right = isNarrow ? 30 : 40;
    const isLast = name === 'latency';
    const tall = () => Math.max(2, Math.floor(box.clientHeight / 48));
    const axis = { stroke: () => palette().axis, font: AXIS_FONT, ticks: { show: false } };
    const grid = { stroke: () => palette().grid, width: 1 };
    return {
      width: Math.max(200, box.clientWidth),
      height: Math.max(100, box.clientHeight),
      padding: [name === 'rates' ? LANE_HEIGHT + 2 : 8, name === 'queue' ? 0 : right, isLast ? 0 : 6, 0],
      legend: { show: false },
      cursor: {
        y: false,
        points: { size: 7, width: 0, fill: (_chart, index) => LINES[name][index - 1]?.stroke(palette()) ?? '' },
        drag: { x: true, y: false, setScale: false, dist: 6 },
        sync: { key: 'time', setSeries: false },
        focus: { prox: -1 },
      },
      scales: {
        // The range is set with each drawing.
        x: { time: true, auto: false },
        y: name === 'latency' ? { distr: LOGARITHMIC, range: () => this.latencyRange() } : { range: () => [0, this.top(name)] },
        workers: { range: () => [0, Math.max(1, this.live.state.snapshot?.gauges.workersMax ?? 5) + 0.25] },
      },
      axes: [
        {
          ...axis,
          grid,
          show: true,
          size: isLast ? 26 : 0,
          gap: 6,
          splits: (chart, _axis, min, max) => {
            const step = timeStep(max - min, chart.bbox.width / uPlot.pxRatio, 90);
            const ticks: number[] = [];
            // Ticks stand on the local clock's round times.
            const offset = new Date(min * 1000).getTimezoneOffset() * 60;
            for (let at = Math.ceil((min - offset) / step) * step + offset; at <= max; at += step) ticks.push(at);
            return ticks;
          },
          values: (_chart, splits) => (isLast ? splits.map((at) => tickLabel(at, (splits[1] ?? 0) - (splits[0] ?? 0), splits.length > 1)) : splits.map(() => '')),
        },
        {
          ...axis,
          grid,
          scale: 'y',
          size: left,
          gap: 8,
          splits: (_chart, _axis, min, max) => (name === 'latency' ? decadeTicks(min, max, tall()) : linearTicks(max, tall(), true)),
          values: (_chart, splits) => splits.map((value) => (name === 'latency' ? shortLatency(value) : shortCount(value))),
          filter: (_chart, splits) => splits,
        },
        ...(name === 'queue'
          ? [
              {
                ...axis,
                scale: 'workers',
                side: RIGHT,
                size: right,
                gap: 8,
                grid: { show: false },
                splits: (_chart: uPlot, _axis: number, _min: number, max: number) => linearTicks(Math.floor(max), 5, true),
                values: (_chart: uPlot, splits: number[]) => splits.map((workers) => (workers < 1_000 ? count(workers) : `${count(workers / 1_000)}k`)),
              },
            ]
          : []),
      ],
      series: [
        {},
        ...LINES[name].map((line): uPlot.Series => {
          const { fill } = line;
          return {
            label: line.label,
            scale: line.scale,
            stroke: () => line.stroke(palette()),
            ...(fill === undefined ? {} : { fill: () => fill(palette()) }),
            width: line.width,
            ...(line.dash === undefined ? {} : { dash: line.dash }),
            ...(line.stepped === true && uPlot.paths.stepped !== undefined ? { paths: uPlot.paths.stepped({ align: 1 }) } : {}),
            points: { show: false },
            gaps: (chart, _series, i0, i1) => this.gapPixels(chart, line.column, name, i0, i1),
          };
        }),
      ],
      hooks: {
        drawAxes: [(chart) => drawUnknown(this.canvas(chart), this.source.series.stepSeconds, ...this.range)],
        draw: [
          (chart) => {
            const canvas = this.canvas(chart);
            drawLines(canvas, this.marks, ...this.range);
            if (name === 'rates') drawLane(canvas, this.source.runs, ...this.range);
            if (name === 'queue') drawScaling(canvas, this.source.events, ...this.range);
          },
        ],
        setCursor: [
          (chart) => {
            if (this.isHoverByKey) return;
            const at = (chart.cursor.left ?? -1) < 0 ? null : chart.posToVal(chart.cursor.left ?? 0, 'x');
            if (at === this.hoverAt) return;
            this.hoverAt = at;
            this.showReadouts();
          },
        ],
        setSelect: [
          (chart) => {
            const { left: x, width } = chart.select;
            if (width >= 6) this.setView(zoomTo(this.view, chart.posToVal(x, 'x'), chart.posToVal(x + width, 'x')));
            chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          },
        ],
        ready: [
          (chart) => {
            chart.over.addEventListener('dblclick', () => this.setSpan(this.view.span));
            chart.over.addEventListener('pointerdown', () => (this.isHoverByKey = false));
            chart.over.addEventListener('mouseenter', () => (this.isHoverByKey = false));
          },
        ],
      },
    };
  }

  private canvas(chart: uPlot): Canvas {
    return { chart, ratio: uPlot.pxRatio, palette: this.palette ?? readPalette() };
  }

  private gapPixels(chart: uPlot, column: Column, name: ChartName, i0: number, i1: number): [number, number][] {
    const { series } = this.source;
    const raw = name === 'latency' ? series.column(column) : null;
    return gaps(series.times, raw, i0, i1, series.stepSeconds).map(([a, b]) => {
      const x = (index: number) => chart.valToPos(series.times[index] ?? 0, 'x', true);
      // From the first row on, a hole reaches to the edge: half of a line's width is left of its row.
      return [a === i0 ? x(a) - 4 : x(a), x(b)];
    });
  }

  /** The top of a linear axis: over the highest value in sight. */
  private top(name: ChartName): number {
    const mounted = this.mounted.find((other) => other.name === name);
    let highest = 0;
    for (const line of LINES[name]) if (line.scale === 'y') highest = Math.max(highest, this.extent(line.column)[1]);
    const top = calmTop(highest, 10, mounted?.top ?? 0);
    if (mounted !== undefined) mounted.top = top;
    return top;
  }

  private latencyRange(): [number, number] {
    let lowest = Infinity;
    let highest = 0;
    for (const line of LINES.latency) {
      const [low, high] = this.extent(line.column);
      lowest = Math.min(lowest, low);
      highest = Math.max(highest, high);
    }
    return highest === 0 ? [100, 1_000_000] : decades(lowest, highest);
  }

  /** The lowest and highest value in sight. */
  private extent(column: Column): [number, number] {
    const { series } = this.source;
    const [from, to] = this.range;
    const values = series.column(column);
    const end = Math.min(values.length, lowerBound(series.times, to) + 1);
    let lowest = Infinity;
    let highest = 0;
    for (let index = Math.max(0, lowerBound(series.times, from) - 1); index < end; index += 1) {
      const value = values[index] ?? Number.NaN;
      if (value < lowest) lowest = value;
      if (value > highest) highest = value;
    }
    return [lowest, highest];
  }
}

/** The values with each hole filled by the value before it; gaps hide what is filled in. */
function held(values: Float64Array, scratch: Map<Column, Float64Array>, column: Column): Float64Array {
  let buffer = scratch.get(column);
  if (buffer === undefined) {
    buffer = new Float64Array(ROWS_MAX + 1);
    scratch.set(column, buffer);
  }
  let last = values.find((value) => !Number.isNaN(value)) ?? 1_000;
  for (let index = 0; index < values.length; index += 1) {
    const value = values[index] ?? Number.NaN;
    if (!Number.isNaN(value)) last = value;
    buffer[index] = last;
  }
  return buffer.subarray(0, values.length);
}

/** An instant on the time axis; of days also the day, where the step is long or a day begins. */
function tickLabel(at: number, step: number, hasStep: boolean): string {
  const isMidnight = clock(at * 1000).startsWith('00:00:00');
  if (hasStep && (step >= 86_400 || (step >= 3_600 && isMidnight))) return day(at * 1000);
  return hasStep && step % 60 === 0 ? clock(at * 1000).slice(0, 5) : clock(at * 1000);
}

/** A decade: `100 µs`, `1 ms`, `10 s`. */
function shortLatency(us: number): string {
  if (us < 1_000) return `${us} µs`;
  return us < 1_000_000 ? `${us / 1_000} ms` : `${us / 1_000_000} s`;
}

function shortCount(value: number): string {
  if (value >= 1_000_000) return `${value / 1_000_000}M`;
  if (value >= 10_000) return `${value / 1_000}k`;
  return count(value);
}
