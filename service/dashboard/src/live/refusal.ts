// Why the service lets this page in no more: a browser does not tell what a refused WebSocket was answered.

import { useEffect, useState } from 'react';
import { fetchRefusal } from '../api/client';

/** The service's words while the page is cut off because it is refused; `null` when it is not, or nobody answers. */
export function useRefusal(isLost: boolean): string | null {
  const [refusal, setRefusal] = useState<string | null>(null);
  useEffect(() => {
    if (!isLost) return;
    const abort = new AbortController();
    fetchRefusal(abort.signal).then(setRefusal, () => {
      // Nobody answers: that is the reason.
    });
    return () => {
      abort.abort();
      setRefusal(null);
    };
  }, [isLost]);
  return refusal;
}
