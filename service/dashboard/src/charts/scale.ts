// Axis ranges and ticks. Pure.

const STEPS = [1, 2, 2.5, 5, 10];

/** The least round number that is not below `value`. */
export function roundUp(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  const step = STEPS.find((candidate) => candidate * power >= value * 0.999_999) ?? 10;
  return step * power;
}

/** The top of an axis for a highest value, calm: it rises at once and falls only when half of it is empty. */
export function calmTop(highest: number, least: number, before: number): number {
  const wanted = Math.max(least, roundUp(highest * 1.08));
  return wanted > before || wanted <= before / 2 ? wanted : before;
}

/** A logarithmic range in whole decades around the values, at least two decades. */
export function decades(lowest: number, highest: number): [number, number] {
  const bottom = 10 ** Math.floor(Math.log10(lowest));
  const top = 10 ** Math.ceil(Math.log10(highest * 1.05));
  return [bottom, Math.max(top, bottom * 100)];
}

/** Ticks of a logarithmic axis: the decades, or every other when there is room for `most` only. */
export function decadeTicks(bottom: number, top: number, most: number): number[] {
  const decadesInAll = Math.round(Math.log10(top / bottom));
  const each = Math.max(1, Math.ceil(decadesInAll / Math.max(1, most)));
  const first = Math.round(Math.log10(bottom));
  return Array.from({ length: Math.floor(decadesInAll / each) + 1 }, (_, index) => 10 ** (first + index * each));
}

/** Ticks of an axis from 0 to a round top: four or five of them, whole when `whole`. */
export function linearTicks(top: number, most: number, whole: boolean): number[] {
  let step = roundUp(top / most);
  if (whole) step = Math.max(1, Math.ceil(step));
  const ticks: number[] = [];
  for (let tick = 0; tick <= top * 1.000_001; tick += step) ticks.push(tick);
  return ticks;
}

const TIME_STEPS_SECONDS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3_600, 7_200, 10_800, 21_600, 43_200];

/** Seconds between two ticks of the time axis, so that they stand at least `apart` of `width` pixels apart. */
export function timeStep(seconds: number, width: number, apart: number): number {
  const least = (seconds * apart) / Math.max(1, width);
  return TIME_STEPS_SECONDS.find((step) => step >= least) ?? 86_400;
}
