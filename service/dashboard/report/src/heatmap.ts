// The heat map of the response time: the cells of the static one, with a reading of each.

import uPlot from 'uplot';
import { LOGARITHMIC, timeAxis, valueAxis } from './axes';
import type { Data, Heatmap } from './data';
import { clock, count, micros, microsTick } from './format';
import { fit, replace, type Frame, type Keys } from './frame';
import { colour, onTheme } from './theme';
import type { Span } from './span';

/** As the style sheet's h1 to h6. */
const SHADES = [0.16, 0.3, 0.46, 0.63, 0.81, 1];

export function heatmap(data: Data, span: Span): void {
  const map = data.heatmap;
  if (map?.columns.some((column) => column.some((cell) => cell > 0))) {
    replace('heatmap', 'Response time over time', (frame) => build(map, span, frame));
  }
}

function build(map: Heatmap, span: Span, frame: Frame): Keys {
  const bounds = map.rowBoundsUs;
  const highest = Math.max(...map.columns.flat());
  // The row below the first bound is empty by construction, unless latencies are as low as the map goes.
  const floor = (bounds[0] ?? 10) / 1.5;
  const low = (row: number) => (row === 0 ? floor : (bounds[row - 1] ?? floor));
  const times = map.columns.map((_, index) => index * map.columnSeconds);
  let row = -1;
  let aloud = false;
  const chart = new uPlot(
    {
      width: 600,
      height: Math.min(330, Math.max(170, bounds.length * 20)) + 30,
      padding: [8, 12, 0, 0],
      legend: { show: false },
      cursor: {
        // The charts above follow this one and it follows them.
        sync: { key: 'time', setSeries: false, scales: ['x', null] },
        drag: { x: true, y: false, setScale: false },
        points: { show: false },
        bind: { dblclick: () => () => (span.all(), null) },
      },
      scales: {
        x: { time: false, range: () => span.range() },
        y: { distr: LOGARITHMIC, range: () => [low(0), bounds.at(-1) ?? 10] },
      },
      axes: [
        timeAxis(true),
        valueAxis(microsTick, {
          splits: () => bounds.filter((bound) => [1, 3].includes(Number(bound.toPrecision(1)) / 10 ** Math.floor(Math.log10(bound)))),
          filter: (_, splits) => splits,
        }),
      ],
      series: [{}, { paths: () => null, points: { show: false } }],
      hooks: {
        draw: [(self) => draw(self, map, low, highest)],
        setCursor: [
          (self) => {
            const index = self.cursor.idx;
            const top = self.cursor.top ?? -1;
            // Moved by another chart, the cursor has no height here.
            if (index == null || top < 0) {
              frame.say('');
              return;
            }
            if (!aloud) {
              const us = self.posToVal(top, 'y');
              row = bounds.findIndex((bound) => us <= bound);
            }
            frame.say(reading(map, low, Math.floor(self.posToVal(self.cursor.left ?? 0, 'x') / map.columnSeconds), row), aloud);
            aloud = false;
          },
        ],
        setSelect: [
          (self) => {
            if (self.select.width < 4) return;
            const from = self.posToVal(self.select.left, 'x');
            const to = self.posToVal(self.select.left + self.select.width, 'x');
            self.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
            span.show(from, to);
          },
        ],
      },
    },
    // The values only give the cursor something to snap to.
    [times, times.map(() => floor)],
    frame.body,
  );
  fit(frame.body, [chart]);
  onTheme(() => chart.redraw());
  span.follow((from, to) => {
    chart.setScale('x', { min: from, max: to });
    frame.zoomed(span.isZoomed());
  });
  let column = -1;
  return {
    move(steps) {
      column = Math.max(0, Math.min(map.columns.length - 1, column < 0 ? 0 : column + steps));
      const cells = map.columns[column] ?? [];
      // The fullest cell of the column.
      row = cells.indexOf(Math.max(...cells));
      const at = (column + 0.5) * map.columnSeconds;
      const [from, to] = span.range();
      if (at < from || at > to) span.centre(at);
      aloud = true;
      chart.setCursor({ left: chart.valToPos(at, 'x'), top: chart.valToPos(Math.sqrt(low(row) * (bounds[row] ?? 10)), 'y') });
    },
    zoom: (factor) => span.zoom(factor, column < 0 ? null : column * map.columnSeconds),
    reset: () => span.all(),
  };
}

function draw(chart: uPlot, map: Heatmap, low: (row: number) => number, highest: number): void {
  const { ctx } = chart;
  const { left, top, width, height } = chart.bbox;
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  ctx.fillStyle = colour('heat');
  map.columns.forEach((cells, column) => {
    const from = Math.round(chart.valToPos(column * map.columnSeconds, 'x', true));
    const to = Math.round(chart.valToPos((column + 1) * map.columnSeconds, 'x', true));
    if (to < left || from > left + width) return;
    cells.forEach((cell, row) => {
      if (cell === 0) return;
      const share = Math.log1p(cell) / Math.log1p(highest);
      ctx.globalAlpha = SHADES[Math.min(SHADES.length, Math.max(1, Math.ceil(share * SHADES.length))) - 1] ?? 1;
      const upper = Math.round(chart.valToPos(map.rowBoundsUs[row] ?? 10, 'y', true));
      const lower = Math.round(chart.valToPos(low(row), 'y', true));
      ctx.fillRect(from, upper, Math.max(1, to - from), lower - upper);
    });
  });
  ctx.restore();
}

/** `12 s: 1,204 answers took 300 to 500 µs, 60 % of that column` */
function reading(map: Heatmap, low: (row: number) => number, column: number, row: number): string {
  const cells = map.columns[column];
  const at = clock(column * map.columnSeconds);
  const all = cells?.reduce((sum, cell) => sum + cell, 0) ?? 0;
  const bound = map.rowBoundsUs[row];
  if (!cells || bound === undefined || all === 0) return `${at}: no answers`;
  const cell = cells[row] ?? 0;
  const share = ((cell / all) * 100).toFixed(cell / all < 0.1 ? 1 : 0);
  return `${at}: ${count(cell)} of ${count(all)} answers (${share} %) took ${micros(low(row))} to ${micros(bound)}`;
}
