// React's view of the stores.

import { useSyncExternalStore } from 'react';
import { Session, type SessionState } from '../control/session';
import { Live, type LiveState } from '../live/store';

const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
export const live = new Live(`${scheme}//${location.host}/ws`);
export const session = new Session();

/** A part of the live state; a component is drawn again only when its part is another one. */
export function useLive<T>(select: (state: LiveState) => T): T {
  return useSyncExternalStore(live.subscribe, () => select(live.state));
}

export function useSession(): SessionState {
  return useSyncExternalStore(session.subscribe, () => session.state);
}
