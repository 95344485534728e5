// Who is logged in: a token with a name and a role, kept for this tab alone.

import { ApiError, checkSession, rememberToken } from '../api/client';

const KEY = 'sluice-token';

export type SessionState =
  | { phase: 'anonymous'; message: string | null }
  | { phase: 'checking'; token: string }
  /** May look, and change nothing. */
  | { phase: 'viewer'; token: string; name: string }
  | { phase: 'admin'; token: string; name: string };

/** Why controls do not work, or `null` when they do. */
export function refusal(state: SessionState): string | null {
  if (state.phase === 'admin') return null;
  if (state.phase === 'viewer') return 'Your role sees everything and changes nothing';
  return state.phase === 'checking' ? 'Logging in …' : 'Log in first';
}

/** Whose token it is; `null` for nobody's. */
export function whoIs(state: SessionState): { token: string; name: string } | null {
  return state.phase === 'admin' || state.phase === 'viewer' ? state : null;
}

/** The token in a login link, `#token=…`. */
export function tokenOfHash(hash: string): string | null {
  const token = new URLSearchParams(hash.replace(/^#/, '')).get('token');
  return token === null || token === '' ? null : token;
}

export class Session {
  state: SessionState = { phase: 'anonymous', message: null };
  private readonly listeners = new Set<() => void>();
  /** Called when another token counts, or none. */
  onToken: () => void = () => undefined;
  private again: ReturnType<typeof setTimeout> | undefined;

  /** Takes the token out of the address, so that neither a copied address nor the history holds it. */
  start(): void {
    const linked = tokenOfHash(location.hash);
    if (linked !== null) history.replaceState(history.state, '', location.pathname + location.search);
    const token = linked ?? sessionStorage.getItem(KEY);
    if (token !== null) void this.login(token);
    window.addEventListener('hashchange', () => {
      const late = tokenOfHash(location.hash);
      if (late === null) return;
      history.replaceState(history.state, '', location.pathname + location.search);
      void this.login(late);
    });
  }

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** Whether the service accepts the token. */
  async login(token: string): Promise<boolean> {
    clearTimeout(this.again);
    this.set({ phase: 'checking', token });
    try {
      const { admin, name } = await checkSession(token);
      sessionStorage.setItem(KEY, token);
      this.set({ phase: admin ? 'admin' : 'viewer', token, name });
      return true;
    } catch (error) {
      const isRefused = error instanceof ApiError && (error.status === 401 || error.status === 403);
      if (isRefused) {
        sessionStorage.removeItem(KEY);
        this.set({ phase: 'anonymous', message: 'The service does not accept this token.' });
      } else {
        // The token may be good: it is tried again when the service is back.
        sessionStorage.setItem(KEY, token);
        this.set({ phase: 'anonymous', message: error instanceof Error ? error.message : 'Logging in failed.' });
        this.again = setTimeout(() => void this.login(token), 3_000);
      }
      return false;
    }
  }

  logout(message: string | null = null): void {
    clearTimeout(this.again);
    sessionStorage.removeItem(KEY);
    this.set({ phase: 'anonymous', message });
  }

  /** After an admin call was refused: the token is not good any more. */
  refused(error: unknown): void {
    const isRefused = error instanceof ApiError && (error.status === 401 || error.status === 403);
    if (isRefused && error.errorType === 'role_forbids' && this.state.phase === 'admin') {
      // The file of tokens says so since a moment ago.
      this.set({ ...this.state, phase: 'viewer' });
    } else if (isRefused) {
      this.logout('The service no longer accepts this token: it was started with another one.');
    }
  }

  private set(state: SessionState): void {
    this.state = state;
    if (rememberToken(whoIs(state)?.token ?? null)) this.onToken();
    for (const listener of this.listeners) listener();
  }
}
