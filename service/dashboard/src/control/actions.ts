// What an operator does: each call says its result, and a refused token logs out.

import { retry, setPaused, type RetryRequest } from '../api/client';
import type { RetryResult } from '../api/types';
import { session } from '../ui/store';
import { say } from '../ui/toasts';
import { retryText } from './text';

/** Runs an admin call; answers `null` when it failed, and says why. */
export async function asAdmin<T>(call: (token: string) => Promise<T>): Promise<T | null> {
  const { state } = session;
  if (state.phase !== 'admin') return null;
  try {
    return await call(state.token);
  } catch (error) {
    session.refused(error);
    say('bad', error instanceof Error ? error.message : 'That failed.');
    return null;
  }
}

export async function pause(): Promise<void> {
  if ((await asAdmin((token) => setPaused(true, token))) !== null) say('good', 'Ingestion is paused, for every instance.');
}

export async function resume(): Promise<void> {
  if ((await asAdmin((token) => setPaused(false, token))) !== null) say('good', 'Ingestion goes on.');
}

export async function retryLoans(request: RetryRequest): Promise<RetryResult | null> {
  const result = await asAdmin((token) => retry(request, token));
  if (result !== null) say(result.requeued > 0 || result.skipped === 0 ? 'good' : 'bad', retryText(result));
  return result;
}
