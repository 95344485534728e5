// The draft that a correction starts from, and reading what was typed. Pure.

import type { Failure, LoanState } from '../api/types';

/** The loan as it was sent, where the service tells it; else its fields as far as the failure names them. */
export function draftOf(loan: LoanState, attempts: readonly Failure[]): string {
  return loan.body == null ? pretty(skeleton(loan.loanId, attempts[0])) : indented(loan.body);
}

/** A body that is JSON, easier to read; anything else as it is. */
function indented(body: string): string {
  try {
    return pretty(JSON.parse(body));
  } catch {
    return body;
  }
}

function pretty(value: unknown): string {
  return JSON.stringify(value, null, 2);
}

function skeleton(loanId: string, failure: Failure | undefined): Record<string, unknown> {
  return {
    loanId,
    amount: 0,
    currency: 'INR',
    termMonths: 12,
    purpose: '',
    creditScore: 0,
    applicant: { name: '', email: failure?.applicantEmail ?? '' },
  };
}

export type Draft = { value: Record<string, unknown> } | { fault: string };

/** Reads a draft; a correction keeps the loan's id. */
export function readDraft(text: string, loanId: string): Draft {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { fault: `This is not JSON: ${error instanceof Error ? error.message : 'unreadable'}.` };
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return { fault: 'A loan is a JSON object.' };
  const record = value as Record<string, unknown>;
  if (record.loanId !== loanId) return { fault: `The loanId must stay ${loanId}.` };
  return { value: record };
}
