import { useState, type ReactNode } from 'react';
import { Button } from '../ui/button';
import { Dialog } from '../ui/dialog';

interface Props {
  title: string;
  children: ReactNode;
  action: string;
  kind?: 'primary' | 'danger';
  onConfirm: () => Promise<unknown>;
  onClose: () => void;
}

/** Asks once. The answer that does nothing has the focus. */
export function Confirm({ title, children, action, kind = 'primary', onConfirm, onClose }: Props) {
  const [isBusy, setBusy] = useState(false);
  const confirm = async () => {
    setBusy(true);
    await onConfirm();
    onClose();
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <div className="text-muted">{children}</div>
      <div className="mt-5 flex justify-end gap-2">
        <Button data-focus="" onClick={onClose}>
          Cancel
        </Button>
        <Button kind={kind} reason={isBusy ? 'Working …' : null} onClick={() => void confirm()}>
          {action}
        </Button>
      </div>
    </Dialog>
  );
}
