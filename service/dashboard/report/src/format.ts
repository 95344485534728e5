// Figures as the rest of the report writes them.

import type { Scale } from './data';

/** `1,234` */
export function count(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

/** One decimal below 100, none above. */
export function plain(value: number): string {
  const tenths = Math.round(value * 10) / 10;
  return Math.abs(tenths) < 100 && !Number.isInteger(tenths) ? tenths.toFixed(1) : count(value);
}

/** Microseconds in the unit that suits the size. */
export function micros(us: number): string {
  if (us < 1_000) return `${Math.round(us)} µs`;
  if (us < 99_950) return `${(us / 1e3).toFixed(1)} ms`;
  if (us < 999_500) return `${Math.round(us / 1e3)} ms`;
  if (us < 9_995_000) return `${(us / 1e6).toFixed(2)} s`;
  return `${(us / 1e6).toFixed(1)} s`;
}

/** The same on an axis, where every value is round. */
export function microsTick(us: number): string {
  return micros(us).replace('.00 ', ' ').replace('.0 ', ' ');
}

/** `40 s`, `2 min 5 s` */
export function clock(seconds: number): string {
  if (seconds < 120) return `${plain(seconds)} s`;
  const whole = Math.round(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const parts = [hours > 0 ? `${hours} h` : '', minutes > 0 ? `${minutes} min` : '', rest > 0 ? `${rest} s` : ''];
  return parts.filter((part) => part !== '').join(' ');
}

export function figure(scale: Scale, value: number): string {
  if (scale === 'latency') return micros(value);
  return scale === 'rate' ? `${plain(value)}/s` : plain(value);
}
