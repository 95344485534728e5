import { useEffect, useState } from 'react';

/** The page's monotonic clock, in milliseconds, drawn again every `everyMs` while `isOn`. */
export function useNow(everyMs: number, isOn: boolean): number {
  const [now, setNow] = useState(() => performance.now());
  useEffect(() => {
    if (!isOn) return;
    const timer = setInterval(() => setNow(performance.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs, isOn]);
  return now;
}
