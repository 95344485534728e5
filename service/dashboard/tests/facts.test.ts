import { expect, test } from 'vitest';
import { instant } from '../src/format';
import { factsOf } from '../src/loan/facts';

const result = {
  fingerprint: '8c14e45f',
  attempt: 1,
  amountMinor: 148_018,
  currency: 'DEM',
  termMonths: 6,
  purpose: 'radio/television',
  applicant: { name: 'Elke', email: 'elke@example.org', annualIncomeMinor: 4_200_000, ageYears: 1 },
  annualRateBasisPoints: 850,
  decision: 'approve',
  receivedAt: '2026-03-03T14:03:27.418Z',
  processedAt: '2026-03-03T14:03:27.500Z',
};
const told = (toldInstants: string[], more: object = {}) =>
  factsOf({ ...result, ...more }, new Set(toldInstants.map((at) => Date.parse(at)))).flatMap(({ title, facts }) => facts.map(({ name, value }) => `${title}|${name}|${value}`));

test('a result is told as people write it', () => {
  expect(told([result.receivedAt, result.processedAt])).toEqual([
    '|Attempt|1',
    '|Amount|DEM 1,480.18',
    '|Term|6 months',
    '|Purpose|radio/television',
    '|Annual rate|8.50 %',
    '|Decision|Approve',
    '|Fingerprint|8c14e45f',
    'Applicant|Name|Elke',
    'Applicant|E-mail|elke@example.org',
    'Applicant|Annual income|DEM 42,000.00',
    'Applicant|Age|1 year',
  ]);
});

test('an instant that no step tells is not lost', () => {
  expect(told([result.receivedAt])).toContain(`|Processed at|${instant(Date.parse(result.processedAt), 0)}`);
});

test('what a later service adds is shown too', () => {
  const facts = told([], { feeMinor: 5, isInsured: true, guarantor: { name: 'Max' }, notes: ['a'], nothing: null });
  for (const fact of ['|Fee|DEM 0.05', '|Is insured|Yes', 'Guarantor|Name|Max', '|Notes|["a"]']) expect(facts).toContain(fact);
  expect(facts.some((fact) => fact.includes('othing'))).toBe(false);
});
