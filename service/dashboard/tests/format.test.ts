import { afterEach, expect, test } from 'vitest';
import { basisPoints, bytes, clockWithMs, count, duration, instant, latency, money, plural, rate, setLocale, share, shortInstant, words } from '../src/format';

afterEach(() => setLocale('en'));

function check<T>(format: (value: T) => string, cases: [T, string][]): void {
  for (const [value, text] of cases) expect(format(value)).toBe(text);
}

test('counts', () => check(count, [[0, '0'], [999, '999'], [12_345, '12,345'], [9_999_999, '9,999,999'], [12_345_678, '12.35M']]));
test('rates', () => check(rate, [[0, '0'], [0.04, '0.0'], [4.25, '4.3'], [9.94, '9.9'], [9.96, '10'], [512.4, '512'], [5_012, '5,012']]));

test('latencies', () =>
  check(latency, [
    [Number.NaN, '–'],
    [820, '820 µs'],
    [1_000, '1.0 ms'],
    [9_940, '9.9 ms'],
    [9_960, '10 ms'],
    [320_400, '320 ms'],
    [999_600, '1.00 s'],
    [1_254_000, '1.25 s'],
    [12_340_000, '12.3 s'],
    [125_000_000, '2 m 05 s'],
  ]));

test('durations', () =>
  check(duration, [
    [0, '0 s'],
    [4.24, '4.2 s'],
    [42.9, '42 s'],
    [125, '2 m 05 s'],
    [11_220, '3 h 07 m'],
    [187_200, '2 d 04 h'],
  ]));

test('sizes', () => check(bytes, [[0, '0 B'], [999, '999 B'], [1_000, '1.0 kB'], [5_312_000, '5.3 MB'], [123_456_789, '123 MB'], [999_700, '1.0 MB']]));

test('shares', () => {
  for (const [part, total, text] of [[0, 0, '0 %'], [0, 5, '0 %'], [1, 10_000, '0.01 %'], [21, 1_000, '2.1 %'], [999, 10_000, '10 %'], [1, 1, '100 %']] as const) {
    expect(share(part, total)).toBe(text);
  }
});

test('names and plurals', () => {
  check(words, [['out_of_range', 'Out of range'], ['poison', 'Poison'], ['creditScore', 'Credit score'], ['ageYears', 'Age years']]);
  expect([plural(1, 'loan'), plural(0, 'loan'), plural(1_200, 'loan')]).toEqual(['1 loan', '0 loans', '1,200 loans']);
});

test('an instant of another day says which', () => {
  const at = new Date(2026, 2, 3, 14, 3, 27).getTime();
  expect(instant(at, at + 1_000)).toBe('14:03:27');
  expect(instant(at, at + 86_400_000)).toBe('Mar 3, 2026, 14:03:27');
  expect(shortInstant(at, at + 1_000)).toBe('14:03:27');
  expect(shortInstant(at, at + 86_400_000)).toBe('Mar 3, 14:03');
});

test('money is in hundredths, whatever the currency, and exact', () => {
  for (const [minor, currency, text] of [
    [148_018, 'DEM', 'DEM 1,480.18'],
    [0, 'INR', 'INR 0.00'],
    [5, 'EUR', 'EUR 0.05'],
    [-5, 'EUR', '-EUR 0.05'],
    [1_000_000, 'JPY', 'JPY 10,000.00'],
    [9_007_199_254_740_991, 'KWD', 'KWD 90,071,992,547,409.91'],
    [100, 'none', 'none 1.00'],
  ] as const) {
    expect(money(minor, currency)).toBe(text);
  }
});

test('rates in hundredths of a percent', () => check(basisPoints, [[850, '8.50 %'], [0, '0.00 %'], [123_456, '1,234.56 %']]));

test('figures follow the locale of the reader', () => {
  setLocale('de');
  const at = new Date(2026, 2, 3, 14, 3, 27, 418).getTime();
  expect([count(1_234_567), rate(4.25), latency(1_254_000), share(21, 1_000)]).toEqual(['1.234.567', '4,3', '1,25 s', '2,1 %']);
  expect([money(148_018, 'DEM'), basisPoints(850)]).toEqual(['1.480,18 DEM', '8,50 %']);
  expect([clockWithMs(at), instant(at, at + 86_400_000)]).toEqual(['14:03:27,418', '3. März 2026, 14:03:27']);
  // A clock of 24 hours, also where twelve are the custom.
  setLocale('en-US');
  expect(clockWithMs(at)).toBe('14:03:27.418');
  setLocale('no locale at all');
  expect(count(1_234)).toBe('1,234');
});
