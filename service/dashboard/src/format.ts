// Numbers, money, times and sizes as people write them: in the reader's locale, on a 24-hour clock. All pure, but for
// the locale, which is set once.

/** Formatters are costly to make and cheap to use. */
function formatsOf(locale: string) {
  const fixed = [0, 1, 2].map((digits) => new Intl.NumberFormat(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits }));
  const time = { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' } as const;
  const day = { day: 'numeric', month: 'short' } as const;
  return {
    locale,
    fixed,
    compact: new Intl.NumberFormat(locale, { notation: 'compact', maximumFractionDigits: 2 }),
    clock: new Intl.DateTimeFormat(locale, time),
    clockWithMs: new Intl.DateTimeFormat(locale, { ...time, fractionalSecondDigits: 3 }),
    day: new Intl.DateTimeFormat(locale, { ...day, year: 'numeric' }),
    shortInstant: new Intl.DateTimeFormat(locale, { ...day, hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }),
  };
}

let formats = formatsOf('en');

/** How numbers and times are written from now on; a tag that no browser knows changes nothing. */
export function setLocale(locale: string): void {
  try {
    formats = formatsOf(locale);
  } catch {
    // What was set before is as good.
  }
}

function fixed(value: number, digits: 0 | 1 | 2): string {
  return formats.fixed[digits]?.format(value) ?? String(value);
}

/** `12,345`; from ten million on `12.35M`. */
export function count(value: number): string {
  return value >= 10_000_000 ? formats.compact.format(value) : fixed(value, 0);
}

/** Per second: one digit after the point below ten, none above. */
export function rate(perSecond: number): string {
  return perSecond > 0 && perSecond < 9.95 ? fixed(perSecond, 1) : count(Math.round(perSecond));
}

/** A latency: `820 µs`, `4.2 ms`, `320 ms`, `1.25 s`, `2 m 05 s`. */
export function latency(us: number): string {
  if (!Number.isFinite(us)) return '–';
  if (us < 1_000) return `${fixed(us, 0)} µs`;
  const ms = us / 1_000;
  if (ms < 9.95) return `${fixed(ms, 1)} ms`;
  if (ms < 999.5) return `${fixed(ms, 0)} ms`;
  const seconds = ms / 1_000;
  if (seconds < 9.995) return `${fixed(seconds, 2)} s`;
  if (seconds < 59.95) return `${fixed(seconds, 1)} s`;
  return duration(seconds);
}

/** A span: `0 s`, `4.2 s`, `42 s`, `2 m 05 s`, `3 h 07 m`, `2 d 04 h`. */
export function duration(seconds: number): string {
  const two = (value: number) => String(Math.floor(value)).padStart(2, '0');
  if (seconds < 9.95) return `${seconds === 0 ? '0' : fixed(seconds, 1)} s`;
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
  return `${fixed(scaled, unit === 0 || scaled >= 99.5 ? 0 : 1)} ${units[unit] ?? 'B'}`;
}

/** A part of a whole: `0 %`, `0.04 %`, `2.1 %`, `37 %`. */
export function share(part: number, total: number): string {
  if (total <= 0 || part <= 0) return '0 %';
  const percent = (100 * part) / total;
  return `${fixed(percent, percent < 0.095 ? 2 : percent < 9.95 ? 1 : 0)} %`;
}

/** Hundredths of a currency's unit: `DEM 1,480.18`. */
export function money(minor: number, currency: string): string {
  const sign = minor < 0 ? '-' : '';
  const digits = String(Math.abs(minor)).padStart(3, '0');
  // As text, which Intl takes digit by digit: money is no float.
  const exact = `${sign}${digits.slice(0, -2)}.${digits.slice(-2)}` as Intl.StringNumericLiteral;
  try {
    // Two digits whatever the currency: that is what was agreed.
    const format = new Intl.NumberFormat(formats.locale, { style: 'currency', currency, currencyDisplay: 'code', minimumFractionDigits: 2, maximumFractionDigits: 2 });
    return format.format(exact).replaceAll('\u00a0', ' ');
  } catch {
    return `${currency} ${exact}`;
  }
}

/** Hundredths of a percent: `8.50 %`. */
export function basisPoints(points: number): string {
  return `${fixed(points / 100, 2)} %`;
}

/** `14:03:27`. */
export function clock(atMs: number): string {
  return formats.clock.format(atMs);
}

/** `14:03:27.418`. */
export function clockWithMs(atMs: number): string {
  return formats.clockWithMs.format(atMs);
}

/** `Mar 3, 2026`. */
export function day(atMs: number): string {
  return formats.day.format(atMs);
}

/** `14:03:27` of today, `Mar 3, 14:03` of another day: for a narrow column. */
export function shortInstant(atMs: number, nowMs: number): string {
  return isSameDay(atMs, nowMs) ? clock(atMs) : formats.shortInstant.format(atMs);
}

/** `14:03:27`, with the day before it when it is not today's: `Mar 3, 2026, 14:03:27`. */
export function instant(atMs: number, nowMs: number): string {
  return isSameDay(atMs, nowMs) ? clock(atMs) : `${day(atMs)}, ${clock(atMs)}`;
}

export function isSameDay(aMs: number, bMs: number): boolean {
  return new Date(aMs).toDateString() === new Date(bMs).toDateString();
}

/** `out_of_range` becomes `Out of range`, `creditScore` becomes `Credit score`. */
export function words(name: string): string {
  const text = name.replaceAll('_', ' ').replaceAll(/(?<=[a-z0-9])[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** `1 loan`, `2 loans`. */
export function plural(number: number, noun: string): string {
  return `${count(number)} ${noun}${number === 1 ? '' : 's'}`;
}
