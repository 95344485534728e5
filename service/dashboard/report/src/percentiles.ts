// Latency by percentile, both axes logarithmic.

import uPlot from 'uplot';
import { LOGARITHMIC, logRange, logSplits, valueAxis } from './axes';
import type { Curve, Data } from './data';
import { micros, microsTick } from './format';
import { fit, replace, type Frame, type Keys } from './frame';
import { colour, FONT, onTheme } from './theme';

const MARKS: [string, number][] = [
  ['p50', 50],
  ['p90', 90],
  ['p99', 99],
  ['p99.9', 99.9],
  ['p99.99', 99.99],
  ['p99.999', 99.999],
];
const NINES_MAX = 7;

/** How many nines a percentile has: 90 has one, 99 two. */
const nines = (percentile: number) => -Math.log10(Math.max(1e-12, 1 - percentile / 100));

export function percentiles(data: Data): void {
  const curves = data.curves.filter((curve) => curve.points.some(([percentile]) => percentile < 100));
  if (curves.length > 0) replace('percentiles', 'Latency by percentile', (frame) => build(curves, frame));
}

function build(curves: Curve[], frame: Frame): Keys {
  // The highest value lies at 100 %, which a logarithmic axis does not have: the table tells it.
  const points = (curve: Curve) => curve.points.filter(([percentile]) => percentile < 100);
  const all = [...new Set(curves.flatMap((curve) => points(curve).map(([percentile]) => percentile)))].sort((a, b) => a - b);
  const rows = curves.map((curve) => {
    const known = new Map(points(curve));
    return all.map((percentile) => known.get(percentile) ?? null);
  });
  const end = Math.min(NINES_MAX, nines(all.at(-1) ?? 99));
  let from = 0;
  let to = end;
  let aloud = false;
  const chart = new uPlot(
    {
      width: 600,
      height: 350,
      padding: [8, 16, 0, 0],
      legend: { live: true, markers: { width: 0, fill: (_, index) => colour(curves[index - 1]?.class ?? 'soft') } },
      cursor: { drag: { x: true, y: false, setScale: false }, points: { size: 7 }, bind: { dblclick: () => () => (show(0, end), null) } },
      scales: {
        x: { time: false, range: () => [from, to] },
        y: { distr: LOGARITHMIC, range: (_, low, high) => logRange(low || 1, high || 10) },
      },
      axes: [
        {
          stroke: () => colour('soft'),
          grid: { stroke: () => colour('rule'), width: 1 },
          ticks: { show: false },
          font: FONT,
          size: 30,
          splits: () => MARKS.map(([, percentile]) => nines(percentile)).filter((at) => at >= from && at <= to + 1e-6),
          values: (_, splits) => splits.map((at) => MARKS.find(([, percentile]) => Math.abs(nines(percentile) - at) < 1e-9)?.[0] ?? ''),
        },
        valueAxis(microsTick, { splits: (self) => logSplits(self.scales.y?.min ?? 1, self.scales.y?.max ?? 10), filter: (_, splits) => splits }),
      ],
      series: [
        { label: 'Percentile', value: (_, at: number | null, __, index) => (at == null || index == null ? '' : name(all[index] ?? 0)) },
        ...curves.map(
          (curve): uPlot.Series => ({
            label: curve.name,
            stroke: () => colour(curve.class),
            width: 2,
            spanGaps: true,
            points: { show: true, size: 4, fill: () => colour(curve.class) },
            value: (_, us: number | null, __, index) => (index == null ? '' : us == null ? '–' : micros(us)),
          }),
        ),
      ],
      hooks: {
        setCursor: [
          (self) => {
            const index = self.cursor.idx;
            const percentile = index == null ? undefined : all[index];
            frame.say(index == null || percentile === undefined ? '' : reading(curves, rows, index, percentile), aloud);
            aloud = false;
          },
        ],
        setSelect: [
          (self) => {
            if (self.select.width < 4) return;
            const [start, stop] = [self.select.left, self.select.left + self.select.width].map((at) => self.posToVal(at, 'x'));
            self.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
            show(start ?? 0, stop ?? end);
          },
        ],
      },
    },
    [all.map(nines), ...rows] as uPlot.AlignedData,
    frame.body,
  );
  function show(start: number, stop: number): void {
    const length = Math.min(end, Math.max(0.2, stop - start));
    from = Math.max(0, Math.min(start, end - length));
    to = from + length;
    chart.setScale('x', { min: from, max: to });
    frame.zoomed(from > 0 || to < end);
  }
  fit(frame.body, [chart]);
  onTheme(() => chart.redraw());
  return {
    move(steps) {
      const now = chart.cursor.idx ?? (steps > 0 ? -1 : all.length);
      const next = Math.max(0, Math.min(all.length - 1, now + steps));
      const at = nines(all[next] ?? 0);
      if (at < from || at > to) show(at - (to - from) / 2, at + (to - from) / 2);
      aloud = true;
      chart.setCursor({ left: chart.valToPos(at, 'x'), top: 10 });
    },
    zoom(factor) {
      const middle = (from + to) / 2;
      show(middle - ((to - from) / 2) * factor, middle + ((to - from) / 2) * factor);
    },
    reset: () => show(0, end),
  };
}

function name(percentile: number): string {
  return `p${percentile.toFixed(4).replace(/\.?0+$/, '')}`;
}

/** `99 % within: response 3.1 ms, service 2.0 ms` */
function reading(curves: Curve[], rows: (number | null)[][], index: number, percentile: number): string {
  const figures = curves.map((curve, row) => {
    const us = rows[row]?.[index];
    return `${curve.name} ${us == null ? '–' : micros(us)}`;
  });
  return `${name(percentile).slice(1)} % of the requests within: ${figures.join(', ')}`;
}
