// What is amiss, in the service's own words and since when. It may tell of what this page was not written for.

import { useEffect, useState } from 'react';
import { fetchDegraded } from '../api/client';
import type { Degraded } from '../api/types';
import { useLive } from '../ui/store';

/** Asked for again this often; at once when a snapshot shows that something has changed. */
const EVERY_MS = 10_000;
const NONE: readonly Degraded[] = [];

export function useDegraded(): readonly Degraded[] {
  const isLive = useLive((state) => state.connection.phase === 'live');
  const shown = useLive(({ snapshot }) => (snapshot === null ? '' : [snapshot.redis.up, snapshot.redis.trouble, snapshot.redis.durable, snapshot.mongodb.up].join()));
  const [degraded, setDegraded] = useState(NONE);
  useEffect(() => {
    if (!isLive) return;
    const abort = new AbortController();
    const ask = async () => {
      try {
        setDegraded(await fetchDegraded(abort.signal));
      } catch {
        // Asked again soon; a connection that is lost is told elsewhere.
      }
    };
    void ask();
    const timer = setInterval(() => void ask(), EVERY_MS);
    return () => {
      clearInterval(timer);
      abort.abort();
    };
  }, [isLive, shown]);
  return degraded;
}
