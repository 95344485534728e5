// The tab's title tells the state, for a page that stays open all day behind others.

import { rate } from '../format';
import type { Live, LiveState } from '../live/store';

const EVERY_MS = 1_000;

export function titleOf({ connection, snapshot }: LiveState): string {
  if (snapshot === null) return 'Sluice';
  if (connection.phase !== 'live') return 'Disconnected – Sluice';
  if (!snapshot.redis.up) return 'Redis is down – Sluice';
  if (!snapshot.mongodb.up) return 'MongoDB is down – Sluice';
  if (snapshot.gauges.paused) return 'Paused – Sluice';
  return `${rate(snapshot.rates.admitted)}/s – Sluice`;
}

export function startTitle(live: Live): void {
  setInterval(() => {
    const title = titleOf(live.state);
    if (document.title !== title) document.title = title;
  }, EVERY_MS);
}
