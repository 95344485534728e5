import { useState } from 'react';
import { Dialog } from '../ui/dialog';
import { useLive } from '../ui/store';
import { figuresOf } from './figures';

/** All that a snapshot tells, for whoever looks for what the page does not show. */
export function AllFigures({ className }: { className: string }) {
  const [isOpen, setOpen] = useState(false);
  return (
    <>
      <button type="button" className={className} onClick={() => setOpen(true)}>
        All figures
      </button>
      {isOpen && (
        <Dialog title="All figures" wide onClose={() => setOpen(false)}>
          <Figures />
        </Dialog>
      )}
    </>
  );
}

function Figures() {
  const snapshot = useLive((state) => state.snapshot);
  if (snapshot === null) return <p className="text-muted">There are no figures yet.</p>;
  return (
    <div className="grid gap-x-8 gap-y-5 sm:grid-cols-2" tabIndex={0} role="group" aria-label="All figures">
      {figuresOf(snapshot).map(({ title, figures }) => (
        <section key={title} className="min-w-0">
          <h3 className="pb-1.5 font-medium">{title}</h3>
          <dl className="grid grid-cols-[minmax(0,1fr)_auto] gap-x-4 gap-y-0.5">
            {figures.map(({ name, value }) => (
              <div key={name} className="contents">
                <dt className="wrap-anywhere text-muted">{name}</dt>
                <dd className="numeric text-right">{value}</dd>
              </div>
            ))}
          </dl>
        </section>
      ))}
    </div>
  );
}
