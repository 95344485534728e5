import { useEffect, useRef, useState } from 'react';
import { Dialog } from '../ui/dialog';
import { Icon } from '../ui/icons';
import { LoanDetails } from './details';

/** Finds one loan by its id; the id stands in the address, so that a loan can be shown to someone else. */
export function FindLoan() {
  const [text, setText] = useState('');
  const [shown, setShown] = useState<string | null>(() => new URLSearchParams(location.search).get('loan'));
  const input = useRef<HTMLInputElement>(null);

  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      const isTyping = event.target instanceof HTMLElement && event.target.closest('input, textarea, select, dialog') !== null;
      if (event.key !== '/' || isTyping || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      input.current?.focus();
    };
    const onPop = () => setShown(new URLSearchParams(location.search).get('loan'));
    window.addEventListener('keydown', onKeyDown);
    window.addEventListener('popstate', onPop);
    return () => {
      window.removeEventListener('keydown', onKeyDown);
      window.removeEventListener('popstate', onPop);
    };
  }, []);

  const show = (loanId: string | null) => {
    const query = new URLSearchParams(location.search);
    if (loanId === null) query.delete('loan');
    else query.set('loan', loanId);
    const search = query.toString();
    history.pushState(null, '', location.pathname + (search === '' ? '' : `?${search}`));
    setShown(loanId);
  };

  return (
    <>
      <form
        role="search"
        aria-label="Find a loan"
        className="relative min-w-0 max-sm:order-last max-sm:w-full"
        onSubmit={(event) => {
          event.preventDefault();
          if (text.trim() !== '') show(text.trim());
        }}
      >
        <Icon name="search" className="pointer-events-none absolute top-2.5 left-2.5 text-muted" />
        <input
          ref={input}
          className="field w-full pl-8! sm:w-52"
          type="search"
          placeholder="Find a loan"
          aria-label="Loan id"
          title="Find a loan by its id ( / )"
          autoComplete="off"
          spellCheck={false}
          value={text}
          onChange={(event) => setText(event.target.value)}
        />
      </form>
      {shown !== null && (
        <Dialog title={`Loan ${shown}`} wide onClose={() => show(null)}>
          <LoanDetails key={shown} loanId={shown} failure={null} onChanged={() => undefined} />
        </Dialog>
      )}
    </>
  );
}
