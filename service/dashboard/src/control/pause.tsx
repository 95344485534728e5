import { useState } from 'react';
import { Button } from '../ui/button';
import { useLive, useSession } from '../ui/store';
import { pause, resume } from './actions';
import { Confirm } from './confirm';
import { refusal } from './session';

/** Pauses, or resumes, the ingestion of every instance. */
export function PauseButton() {
  const isPaused = useLive((state) => state.snapshot?.gauges.paused ?? false);
  const isLive = useLive((state) => state.connection.phase === 'live');
  const reason = refusal(useSession()) ?? (isLive ? null : 'Not connected');
  const [isAsking, setAsking] = useState(false);
  if (isPaused) {
    return (
      <Button kind="primary" icon="play" reason={reason} onClick={() => void resume()}>
        <span className="max-sm:sr-only">Resume</span>
      </Button>
    );
  }
  return (
    <>
      <Button icon="pause" reason={reason} onClick={() => setAsking(true)}>
        <span className="max-sm:sr-only">Pause</span>
      </Button>
      {isAsking && (
        <Confirm title="Pause ingestion?" action="Pause ingestion" kind="danger" onConfirm={pause} onClose={() => setAsking(false)}>
          Every instance will answer new loan requests with 503 until someone resumes. Loans that are queued already are still processed and
          recorded.
        </Confirm>
      )}
    </>
  );
}
