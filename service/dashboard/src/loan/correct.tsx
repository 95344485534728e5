import { useId, useState } from 'react';
import type { Failure, LoanState } from '../api/types';
import { retryLoans } from '../control/actions';
import { Button } from '../ui/button';
import { draftOf, readDraft } from './correction';

interface Props {
  loan: LoanState;
  attempts: readonly Failure[];
  onDone: () => void;
  onClose: () => void;
}

/** Edits a failed loan in place and queues the corrected one. */
export function Correct({ loan, attempts, onDone, onClose }: Props) {
  const [text, setText] = useState(() => draftOf(loan, attempts));
  const [isBusy, setBusy] = useState(false);
  const id = useId();
  const draft = readDraft(text, loan.loanId);
  const fault = 'fault' in draft ? draft.fault : null;
  const submit = async () => {
    if (!('value' in draft)) return;
    setBusy(true);
    const result = await retryLoans({ loanIds: [loan.loanId], correction: draft.value });
    setBusy(false);
    if (result !== null && result.requeued > 0) onDone();
  };
  return (
    <div>
      <label htmlFor={id} className="block pb-1.5 font-medium">
        Corrected loan
      </label>
      <textarea
        id={id}
        className="field h-64! w-full resize-y py-2! font-mono text-[0.8125rem] leading-5"
        spellCheck={false}
        value={text}
        aria-invalid={fault !== null}
        aria-describedby={`${id}-fault`}
        onChange={(event) => setText(event.target.value)}
      />
      <p id={`${id}-fault`} role="status" className="min-h-5 pt-1 text-bad">
        {fault}
      </p>
      <div className="flex justify-end gap-2 pt-1">
        <Button small onClick={onClose}>
          Cancel
        </Button>
        <Button small kind="primary" reason={fault ?? (isBusy ? 'Working …' : null)} onClick={() => void submit()}>
          Queue the corrected loan
        </Button>
      </div>
    </div>
  );
}
