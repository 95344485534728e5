// The run over time: the panels of the static chart, with one cursor and one zoom.

import uPlot from 'uplot';
import { LOGARITHMIC, logRange, logSplits, timeAxis, valueAxis } from './axes';
import type { Data, Line, Panel, Phase, Row } from './data';
import { figure, clock, microsTick, plain } from './format';
import { fit, replace, type Frame, type Keys } from './frame';
import { colour, FONT, onTheme, tint } from './theme';
import type { Span } from './span';

const HEIGHTS: Record<string, number> = { 'Each second': 190, 'Response time': 170, Backlog: 140, Workers: 96 };
/** Events this near to the cursor are read out, as a share of what is shown. */
const NEAR = 0.01;

export function timeline(data: Data, span: Span): void {
  if (data.seconds === 0) return;
  replace('timeline', 'The run over time', (frame) => build(data, span, frame));
}

function build(data: Data, span: Span, frame: Frame): Keys {
  const length = data.bucketSeconds;
  const buckets = Math.ceil(data.seconds / length);
  // A step begins with its bucket and holds until the next one; the points of other lines lie in the middle of theirs.
  const starts = Array.from({ length: buckets + 1 }, (_, index) => Math.min(index * length, data.seconds));
  const middles = starts.slice(0, -1).map((start, index) => (start + (starts[index + 1] ?? start)) / 2);
  const charts: uPlot[] = [];
  let aloud = false;
  /** The bucket that the cursor is in. */
  const here = (): number | null => {
    const [chart] = charts;
    const left = chart?.cursor.left ?? -1;
    return chart === undefined || left < 0 ? null : bucketAt(chart.posToVal(left, 'x'), data);
  };

  data.panels.forEach((panel, index) => {
    const lines = panel.lines.filter((line) => shown(line));
    const chart = new uPlot(
      options(data, span, panel, lines, index === 0, index === data.panels.length - 1, () => {
        const at = here();
        frame.say(at === null ? '' : reading(data, span, at * length), aloud);
        aloud = false;
      }),
      [panel.stepped ? starts : middles, ...rows(lines, panel.stepped)] as uPlot.AlignedData,
      frame.body,
    );
    charts.push(chart);
  });
  if (length > 1) {
    const note = document.createElement('p');
    note.className = 'hint';
    note.textContent = `Each step of a line stands for ${length} seconds: the mean of a rate, the highest backlog, the most workers, the slowest response time. The band behind it reaches from the lowest of its seconds to the highest. report.json has every second.`;
    frame.body.after(note);
  }
  fit(frame.body, charts);
  onTheme(() => charts.forEach((chart) => chart.redraw()));
  span.follow((from, to) => {
    charts.forEach((chart) => chart.setScale('x', { min: from, max: to }));
    frame.zoomed(span.isZoomed());
  });

  const place = (bucket: number) => {
    aloud = true;
    const middle = middles[bucket] ?? 0;
    charts.forEach((chart) => chart.setCursor({ left: chart.valToPos(middle, 'x'), top: 5 }));
  };
  return {
    move(steps) {
      const [from, to] = span.range();
      const now = here();
      const start = now ?? (steps > 0 ? from / length - 1 : to / length);
      const next = Math.max(0, Math.min(buckets - 1, Math.round(start + steps)));
      if (next * length < from || next * length > to) span.centre(next * length);
      place(next);
    },
    zoom(factor) {
      const now = here();
      span.zoom(factor, now === null ? null : now * length);
    },
    reset: () => span.all(),
  };
}

/** A line along zero where nothing went wrong would only hide what lies there. */
function shown(line: Line): boolean {
  const high = line.high ?? line.shown;
  return line.class === 'bad' ? high.some((value) => value !== null && value > 0) : high.some((value) => value !== null);
}

/** A bucket holds until its end, the last one and one before a gap too: so there stands one value more behind each run of them. */
export function held(row: Row): Row {
  return [...row, null].map((value, index) => value ?? row[index - 1] ?? null);
}

/** For each line, what is shown; then, where buckets are longer than a second, the lowest and the highest. */
function rows(lines: Line[], stepped: boolean): Row[] {
  const drawn = (row: Row) => (stepped ? held(row) : row);
  return [
    ...lines.map((line) => drawn(line.shown)),
    ...lines.flatMap((line) => (line.low ? [drawn(line.high ?? line.shown), drawn(line.low)] : [])),
  ];
}

/** The bucket that holds an instant. */
function bucketAt(seconds: number, data: Data): number {
  const last = Math.ceil(data.seconds / data.bucketSeconds) - 1;
  return Math.max(0, Math.min(last, Math.floor(seconds / data.bucketSeconds)));
}

function options(
  data: Data,
  span: Span,
  panel: Panel,
  lines: Line[],
  first: boolean,
  last: boolean,
  moved: () => void,
): uPlot.Options {
  const log = panel.scale === 'latency';
  const stepped = uPlot.paths.stepped?.({ align: 1 });
  const bands: uPlot.Band[] = [];
  lines.forEach((line, index) => {
    if (line.low) {
      const high = 1 + lines.length + 2 * index;
      bands.push({ series: [high, high + 1], fill: () => tint(line.class, 0.2) });
    }
  });
  const paths = panel.stepped && stepped ? { paths: stepped } : {};
  const hidden: uPlot.Series[] = lines.flatMap((line) =>
    line.low ? [0, 1].map(() => ({ class: 'edge', width: 0, points: { show: false }, ...paths })) : [],
  );
  return {
    width: 600,
    height: (HEIGHTS[panel.title] ?? 130) + (last ? 26 : 0),
    padding: [first ? 20 : 6, 12, 0, 0],
    bands,
    legend: { live: true, markers: { width: 0, fill: (_, index) => colour(lines[index - 1]?.class ?? 'soft') } },
    cursor: {
      sync: { key: 'time', setSeries: false },
      y: false,
      // Not the nearest point: the bucket that the cursor is in.
      dataIdx: (_, __, ___, at) => bucketAt(at, data),
      drag: { x: true, y: false, setScale: false },
      points: { size: 6 },
      bind: {
        dblclick: () => () => {
          span.all();
          return null;
        },
      },
    },
    scales: {
      x: { time: false, range: () => span.range() },
      y: log
        ? { distr: LOGARITHMIC, range: (_, low, high) => logRange(low || 1, high || 10) }
        : { range: (_, __, high) => [0, Math.max(1, (high || 0) * 1.08)] },
    },
    axes: [
      timeAxis(last),
      log
        ? valueAxis(microsTick, { splits: (chart) => logSplits(chart.scales.y?.min ?? 1, chart.scales.y?.max ?? 10), filter: (_, splits) => splits })
        : valueAxis(plain, { incrs: [1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1e3, 2e3, 2.5e3, 5e3, 1e4, 2e4, 5e4, 1e5, 1e6] }),
    ],
    series: [
      { label: panel.title, value: () => '' },
      ...lines.map(
        (line): uPlot.Series => ({
          label: line.name,
          stroke: () => (line.class === 'planned' ? tint('planned', 0.55) : colour(line.class)),
          width: line.class === 'planned' ? 3.2 : 1.8,
          points: panel.stepped ? { show: false } : { show: true, size: 5, filter: alone },
          ...paths,
          // Not what is drawn: that goes on behind the last bucket before a gap.
          value: (_, __, ___, at) => text(panel, line, at == null ? null : (line.shown[at] ?? null), at),
        }),
      ),
      ...hidden,
    ],
    hooks: {
      drawClear: [(chart) => drawPhases(chart, data, first)],
      draw: [(chart) => drawFaults(chart, data, first)],
      setCursor: [moved],
      setSelect: [
        (chart) => {
          if (chart.select.width < 4) return;
          const from = chart.posToVal(chart.select.left, 'x');
          const to = chart.posToVal(chart.select.left + chart.select.width, 'x');
          chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          span.show(from, to);
        },
      ],
    },
  };
}

/** The values that have no neighbour: no line reaches them. */
function alone(chart: uPlot, series: number): number[] {
  const values = chart.data[series] ?? [];
  const isThere = (index: number) => values[index] != null;
  return Array.from(values.keys()).filter((index) => isThere(index) && !isThere(index - 1) && !isThere(index + 1));
}

/** A value of the legend, with what its bucket hides. */
function text(panel: Panel, line: Line, value: number | null, index: number | null): string {
  // A dash is a value that is missing, and no place is pointed at yet.
  if (value == null) return index == null ? '' : '–';
  const shownText = figure(panel.scale, value);
  const low = index == null ? undefined : line.low?.[index];
  const high = index == null ? undefined : (line.high ?? line.shown)[index];
  if (low == null || high == null || low === high) return shownText;
  return `${shownText} (${figure(panel.scale, low)} to ${figure(panel.scale, high)})`;
}

/** Where the cursor is, in words: the instant, the phase, and what happened there. */
function reading(data: Data, span: Span, at: number): string {
  const phase = bandsOf(data).find(({ from, to }) => at >= from && at < to)?.name ?? 'drain';
  const [from, to] = span.range();
  const near = Math.max(data.bucketSeconds, (to - from) * NEAR);
  const happened = data.events.filter((event) => Math.abs(event.at - at) <= near).map((event) => event.text);
  const more = happened.length > 2 ? `; ${happened.length - 2} more events` : '';
  const words = [`${clock(at)}, phase ${phase}`, ...happened.slice(0, 2)];
  return words.join('; ') + more;
}

/** Whether a sign stands at this instant. */
function isMarked(data: Data, at: number): boolean {
  return data.events.some((event) => (event.kind === 'fault' || event.kind === 'stop') && Math.abs(event.at - at) < 0.05);
}

/** The phases, the time in which requests were overdue, and the drain. */
function bandsOf(data: Data): Phase[] {
  const end = data.phases.at(-1)?.to ?? data.seconds;
  const sent = Math.min(Math.max(data.sentUntil, end), data.seconds);
  const after = [
    { name: 'overdue', from: end, to: sent },
    { name: 'drain', from: sent, to: data.seconds },
  ];
  return [...data.phases, ...after.filter(({ from, to }) => to > from)];
}

/** The phases as bands, and what came after them; the first panel names them. */
function drawPhases(chart: uPlot, data: Data, named: boolean): void {
  const { ctx } = chart;
  const { left, top, width, height } = chart.bbox;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.font = FONT.replace('12px', `550 ${12 * ratio}px`);
  bandsOf(data).forEach((band, index) => {
    const from = Math.max(left, chart.valToPos(band.from, 'x', true));
    const to = Math.min(left + width, chart.valToPos(Math.min(band.to, data.seconds), 'x', true));
    if (to <= from) return;
    if (index % 2 === 0) {
      ctx.fillStyle = tint('shade', 0.7);
      ctx.fillRect(from, named ? 0 : top - 6 * ratio, to - from, height + (named ? top : 6 * ratio));
    }
    // Beside the sign of a fault or a stop that stands at its beginning.
    const gap = (isMarked(data, band.from) ? 14 : 6) * ratio;
    if (named && ctx.measureText(band.name).width + gap + 6 * ratio < to - from) {
      ctx.fillStyle = colour('soft');
      ctx.fillText(band.name, from + gap, 13 * ratio);
    }
  });
  ctx.fillStyle = tint('hold', 0.16);
  for (const event of data.events) {
    if (event.kind !== 'pause' || event.lasts === null) continue;
    const from = Math.max(left, chart.valToPos(event.at, 'x', true));
    const to = Math.min(left + width, chart.valToPos(event.at + event.lasts, 'x', true));
    if (to > from) ctx.fillRect(from, top, to - from, height);
  }
  ctx.restore();
}

/** The faults as lines across, numbered as in the list of events. */
function drawFaults(chart: uPlot, data: Data, named: boolean): void {
  const { ctx } = chart;
  const { left, top, width, height } = chart.bbox;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.strokeStyle = colour('bad');
  ctx.lineWidth = 1.5 * ratio;
  ctx.setLineDash([4 * ratio, 3 * ratio]);
  data.events
    .filter((event) => event.kind === 'fault' || event.kind === 'stop')
    .forEach((event, index) => {
      const x = chart.valToPos(event.at, 'x', true);
      if (x < left || x > left + width) return;
      ctx.beginPath();
      ctx.moveTo(x, top);
      ctx.lineTo(x, top + height);
      ctx.stroke();
      if (!named) return;
      ctx.fillStyle = colour('bad');
      ctx.beginPath();
      ctx.arc(x, top - 8 * ratio, 8 * ratio, 0, 2 * Math.PI);
      ctx.fill();
      ctx.fillStyle = colour('card');
      if (event.kind === 'stop') {
        ctx.fillRect(x - 3 * ratio, top - 11 * ratio, 6 * ratio, 6 * ratio);
        return;
      }
      ctx.font = FONT.replace('12px', `700 ${11 * ratio}px`);
      ctx.textAlign = 'center';
      ctx.fillText(String(index + 1), x, top - 4 * ratio);
    });
  ctx.restore();
}
