import { expect, test } from 'vitest';
import type { Failure, LoanState } from '../src/api/types';
import { sentence } from '../src/api/client';
import { retryText } from '../src/control/text';
import { refusal, tokenOfHash } from '../src/control/session';
import { draftOf, readDraft } from '../src/loan/correction';

const attempt: Failure = { loanId: 'A', attempt: 1, errorType: 'out_of_range', faults: [], applicantEmail: 'ada@example.org', receivedAt: '', failedAt: '' };
const failed: LoanState = { loanId: 'A', status: 'failed', steps: [], attempts: [attempt] };

test('a draft is the loan as it was sent, or what is known of it', () => {
  expect(JSON.parse(draftOf({ ...failed, body: '{"loanId":"A","amount":5}' }, []))).toEqual({ loanId: 'A', amount: 5 });
  expect(JSON.parse(draftOf(failed, [attempt]))).toMatchObject({ loanId: 'A', applicant: { email: 'ada@example.org' } });
});

test('a correction is an object with the same id', () => {
  expect(readDraft('{"loanId":"A","amount":1}', 'A')).toEqual({ value: { loanId: 'A', amount: 1 } });
  for (const wrong of ['', '{', '[]', 'null', '"A"', '{"loanId":"B"}', '{}']) expect(readDraft(wrong, 'A'), wrong).toHaveProperty('fault');
});

test('a retry says its result', () => {
  expect(retryText({ requeued: 1, skipped: 0, remaining: 0 })).toBe('1 loan queued again.');
  expect(retryText({ requeued: 320, skipped: 2, remaining: 18 })).toBe('320 loans queued again; 2 skipped: not failed, or being processed; 18 failed loans left.');
});

test('a login link', () => {
  expect([tokenOfHash('#token=s3cret'), tokenOfHash('#token=a%2Bb'), tokenOfHash('#token='), tokenOfHash('#main'), tokenOfHash('')]).toEqual(['s3cret', 'a+b', null, null, null]);
  expect(refusal({ phase: 'admin', token: 'x', name: 'ada' })).toBeNull();
  expect(refusal({ phase: 'anonymous', message: null })).toBe('Log in first');
});

test('sentences', () => expect([sentence('no loan with this id'), sentence('Done.')]).toEqual(['No loan with this id.', 'Done.']));
