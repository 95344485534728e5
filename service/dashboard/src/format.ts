// Numbers, times and sizes in words. All pure; 24-hour local time; thousands with a comma.

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 2 });

/** `12,345`; from ten million on `12.35M`. */
export function count(value: number): string {
  return value >= 10_000_000 ? compact.format(value) : whole.format(value);
}

/** Per second: one digit after the point below ten, none above. */
export function rate(perSecond: number): string {
  if (perSecond > 0 && perSecond < 9.95) return perSecond.toFixed(1);
  return count(Math.round(perSecond));
}

/** A latency: `820 µs`, `4.2 ms`, `320 ms`, `1.25 s`, `2 m 05 s`. */
export function latency(us: number): string {
  if (!Number.isFinite(us)) return '–';
  if (us < 1_000) return `${Math.round(us)} µs`;
  const ms = us / 1_000;
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  const seconds = ms / 1_000;
  if (seconds < 9.995) return `${seconds.toFixed(2)} s`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  return duration(seconds);
}

/** A span: `0 s`, `4.2 s`, `42 s`, `2 m 05 s`, `3 h 07 m`, `2 d 04 h`. */
export function duration(seconds: number): string {
  const two = (value: number) => String(Math.floor(value)).padStart(2, '0');
  if (seconds < 9.95) return `${seconds === 0 ? '0' : seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} m ${two(seconds % 60)} s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h ${two((seconds % 3_600) / 60)} m`;
  return `${Math.floor(seconds / 86_400)} d ${two((seconds % 86_400) / 3_600)} h`;
}

/** `512 B`, `3.4 MB`: powers of 1,000. */
export function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  let scaled = value;
  while (scaled >= 999.5 && unit < units.length - 1) {
    scaled /= 1_000;
    unit += 1;
  }
  return `${unit === 0 || scaled >= 99.5 ? Math.round(scaled) : scaled.toFixed(1)} ${units[unit] ?? 'B'}`;
}

/** A part of a whole: `0 %`, `0.04 %`, `2.1 %`, `37 %`. */
export function share(part: number, total: number): string {
  if (total <= 0 || part <= 0) return '0 %';
  const percent = (100 * part) / total;
  if (percent < 0.095) return `${percent.toFixed(2)} %`;
  if (percent < 9.95) return `${percent.toFixed(1)} %`;
  return `${Math.round(percent)} %`;
}

const clockFormat = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const dayFormat = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });

/** `14:03:27`. */
export function clock(atMs: number): string {
  return clockFormat.format(atMs);
}

/** `14:03:27`, with the day before it when it is not today's: `3 Mar 14:03:27`. */
export function instant(atMs: number, nowMs = Date.now()): string {
  const day = dayFormat.format(atMs);
  return day === dayFormat.format(nowMs) ? clock(atMs) : `${day} ${clock(atMs)}`;
}

/** `14:03:27.418`. */
export function clockWithMs(atMs: number): string {
  return `${clock(atMs)}.${String(Math.floor(atMs) % 1_000).padStart(3, '0')}`;
}

/** `out_of_range` becomes `Out of range`. */
export function words(name: string): string {
  const text = name.replaceAll('_', ' ');
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** `1 loan`, `2 loans`. */
export function plural(number: number, noun: string): string {
  return `${count(number)} ${noun}${number === 1 ? '' : 's'}`;
}
