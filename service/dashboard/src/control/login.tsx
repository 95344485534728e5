import { useState } from 'react';
import { Button } from '../ui/button';
import { Dialog } from '../ui/dialog';
import { session, useSession } from '../ui/store';
import { whoIs } from './session';

export function LoginButton() {
  const state = useSession();
  const [isOpen, setOpen] = useState(false);
  const who = whoIs(state);
  if (who !== null) {
    const role = state.phase === 'admin' ? 'operator' : 'viewer';
    return (
      <Button kind="ghost" icon="key" title={`Logged in as ${who.name}, ${role}, in this tab`} onClick={() => session.logout()}>
        <span className="max-w-40 truncate text-muted max-lg:sr-only" data-testid="who">
          {who.name}
          {role === 'viewer' ? ', viewer' : ''}
        </span>
        <span className="max-md:sr-only">Log out</span>
      </Button>
    );
  }
  return (
    <>
      <Button icon="key" onClick={() => setOpen(true)}>
        <span className="max-md:sr-only">Log in</span>
      </Button>
      {isOpen && <LoginDialog onClose={() => setOpen(false)} />}
    </>
  );
}

function LoginDialog({ onClose }: { onClose: () => void }) {
  const state = useSession();
  const [token, setToken] = useState('');
  const isChecking = state.phase === 'checking';
  const message = state.phase === 'anonymous' ? state.message : null;
  const submit = async () => {
    if (await session.login(token.trim())) onClose();
  };
  return (
    <Dialog title="Log in" onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (token.trim() !== '') void submit();
        }}
      >
        <label className="block font-medium" htmlFor="token">
          Token
        </label>
        <input
          id="token"
          className="field mt-1.5 w-full font-mono"
          type="password"
          autoComplete="off"
          data-focus=""
          value={token}
          aria-describedby="token-help"
          aria-invalid={message !== null}
          onChange={(event) => setToken(event.target.value)}
        />
        {message !== null && (
          <p role="alert" className="mt-2 text-bad">
            {message}
          </p>
        )}
        <p id="token-help" className="mt-3 text-muted">
          It is yours of the service’s file of tokens, or its <code className="font-mono text-[0.9em]">SLUICE_ADMIN_TOKEN</code>. Without either, the
          service makes a token at its start and prints a login link. It is kept for this tab alone.
        </p>
        <div className="mt-5 flex justify-end gap-2">
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" type="submit" reason={isChecking ? 'Checking …' : token.trim() === '' ? 'Enter a token' : null}>
            Log in
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
