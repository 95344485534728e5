// The axes that the charts share.

import type uPlot from 'uplot';
import { clock } from './format';
import { colour, FONT } from './theme';

/** uPlot's number for a logarithmic scale. */
// eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment -- the enum has no values at run time
export const LOGARITHMIC = 3 as uPlot.Scale.Distr;

/** Width of the axis on the left, so that all plots begin at one line. */
const LEFT = 64;

const base = {
  stroke: () => colour('soft'),
  grid: { stroke: () => colour('rule'), width: 1 },
  ticks: { show: false },
  font: FONT,
} satisfies uPlot.Axis;

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];

/** Seconds since the start. Only the lowest chart of several shows them. */
export function timeAxis(shown: boolean): uPlot.Axis {
  return {
    ...base,
    size: shown ? 30 : 4,
    space: 70,
    incrs: STEPS,
    values: (_, splits) => splits.map((at) => (shown ? clock(at) : '')),
  };
}

export function valueAxis(show: (value: number) => string, extra: Partial<uPlot.Axis> = {}): uPlot.Axis {
  return {
    ...base,
    size: LEFT,
    gap: 8,
    space: 28,
    values: (_, splits) => splits.map((value) => show(value)),
    ...extra,
  };
}

/** Round values on a logarithmic axis: 1, 2 and 5 of each decade, or 1 alone where they would be many. */
export function logSplits(low: number, high: number): number[] {
  const steps = Math.log10(high / low) > 2.5 ? [1] : [1, 2, 5];
  const splits: number[] = [];
  for (let decade = Math.floor(Math.log10(low)); decade <= Math.ceil(Math.log10(high)); decade += 1) {
    for (const step of steps) {
      const value = step * 10 ** decade;
      if (value >= low * 0.999 && value <= high * 1.001) splits.push(value);
    }
  }
  return splits;
}

/** A range whose ends are round on a logarithmic axis. */
export function logRange(low: number, high: number): [number, number] {
  const round = (value: number, up: boolean): number => {
    const decade = 10 ** Math.floor(Math.log10(value));
    const steps = [1, 2, 5, 10].map((step) => step * decade);
    return (up ? steps.find((step) => step >= value * 0.999) : steps.findLast((step) => step <= value * 1.001)) ?? value;
  };
  const from = round(Math.max(1, low), false);
  const to = round(Math.max(1, high), true);
  return [from, to > from ? to : from * 10];
}
