// The calls that the page makes. Every fault becomes an `ApiError` with a sentence for a person.

import type { ActivityPage, Control, FailurePage, History, LoanState, ProblemBody, RetryResult, Session } from './types';

const TIMEOUT_MS = 15_000;

export class ApiError extends Error {
  constructor(
    /** The status code; 0 when there was no answer. */
    readonly status: number,
    readonly errorType: string,
    message: string,
    /** How many loans there are, where that is more than were confirmed. */
    readonly found: number | null = null,
  ) {
    super(message);
  }
}

/** The token of whoever is logged in. It goes with every call: without it the service hides who applicants are. */
let currentToken: string | null = null;

export function rememberToken(token: string | null): boolean {
  const isOther = token !== currentToken;
  currentToken = token;
  return isOther;
}

/** What a WebSocket asks for: it can send no header, so the token goes along as a protocol. */
export function webSocketProtocols(): string[] {
  if (currentToken === null) return [];
  const base64 = btoa(currentToken).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
  return ['sluice', `bearer.${base64}`];
}

interface Call {
  method?: 'GET' | 'POST' | 'PATCH';
  token?: string | null;
  body?: unknown;
  signal?: AbortSignal | undefined;
}

export async function call<T>(path: string, { method = 'GET', token, body, signal }: Call = {}): Promise<T> {
  const headers: Record<string, string> = { accept: 'application/json' };
  const sent = token ?? currentToken;
  if (sent !== null) headers.authorization = `Bearer ${sent}`;
  if (body !== undefined) headers['content-type'] = 'application/json';
  const limit = AbortSignal.timeout(TIMEOUT_MS);
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? null : JSON.stringify(body),
      signal: signal === undefined ? limit : AbortSignal.any([signal, limit]),
      cache: 'no-store',
    });
  } catch (error) {
    if (signal?.aborted === true) throw error;
    throw new ApiError(0, 'unreachable', limit.aborted ? 'The service did not answer in time.' : 'The service cannot be reached.');
  }
  if (response.ok) return (await response.json()) as T;
  throw await problemOf(response);
}

async function problemOf(response: Response): Promise<ApiError> {
  try {
    const problem = (await response.json()) as Partial<ProblemBody>;
    return new ApiError(response.status, problem.errorType ?? 'unknown', sentence(problem.detail ?? problem.title ?? `The service answered ${response.status}`), problem.found ?? null);
  } catch {
    return new ApiError(response.status, 'unknown', `The service answered ${response.status}.`);
  }
}

/** A capital at the begin and a point at the end. */
export function sentence(text: string): string {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

export function fetchHistory(minutes: number): Promise<History> {
  return call(`/api/history?minutes=${minutes}`);
}

export function fetchFailures(query: URLSearchParams, signal?: AbortSignal): Promise<FailurePage> {
  return call(`/api/errors?${query.toString()}`, { signal });
}

/** What operators have changed, newest first; `cursor` leads to what is older. */
export function fetchChanges(cursor: string | null, signal: AbortSignal): Promise<ActivityPage> {
  const query = new URLSearchParams({ limit: '50', ...(cursor === null ? {} : { cursor }) });
  return call(`/api/activity?${query.toString()}`, { signal });
}

export function fetchLoan(loanId: string, token: string | null, signal?: AbortSignal): Promise<LoanState> {
  return call(`/api/loans/${encodeURIComponent(loanId)}`, { token, signal });
}

/** Why the service refuses this page, if it does: it does not know the page's address as its own. */
export async function fetchRefusal(signal: AbortSignal): Promise<string | null> {
  const response = await fetch('/ws', { method: 'POST', signal });
  if (!response.ok) {
    const problem = await problemOf(response);
    if (['foreign_origin', 'unknown_host'].includes(problem.errorType)) return problem.message;
  }
  try {
    await call('/api/control', { signal });
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return NEEDS_TOKEN;
  }
  return null;
}

/** Reading asks for a token where the service has a file of them. */
export const NEEDS_TOKEN = 'It shows its figures to whoever has a token: log in.';

export function checkSession(token: string): Promise<Session> {
  return call('/api/session', { token });
}

export function setPaused(paused: boolean, token: string): Promise<Control> {
  return call(paused ? '/api/control/pause' : '/api/control/resume', { method: 'POST', token });
}

export type RetryRequest =
  | Record<string, never>
  | { errorType: string }
  | { loanIds: string[] }
  | { loanIds: [string]; correction: unknown };

export function retry(request: RetryRequest, token: string): Promise<RetryResult> {
  return call('/api/loans/retry', { method: 'PATCH', token, body: request });
}
