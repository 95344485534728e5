import { LoginButton } from '../control/login';
import { PauseButton } from '../control/pause';
import { FindLoan } from '../loan/find';
import { Button } from '../ui/button';
import { Logo } from '../ui/icons';
import { useNow } from '../ui/now';
import { live, useLive } from '../ui/store';
import { nextTheme, useTheme } from '../ui/theme';

export function Header() {
  return (
    <header className="top-0 z-20 border-b border-line bg-surface sm:sticky">
      <div className="flex flex-wrap items-center gap-2 px-3 py-2 sm:h-14 sm:flex-nowrap sm:gap-3 sm:px-5 sm:py-0 3xl:px-8">
        <a href="/" className="flex items-center gap-2.5 text-ink" aria-label="Sluice, the dashboard">
          <Logo />
          <span className="text-[1.0625rem] font-semibold tracking-tight max-lg:hidden">Sluice</span>
        </a>
        <ConnectionPill />
        <div className="flex-1" />
        <FindLoan />
        <PauseButton />
        <LoginButton />
        <ThemeButton />
      </div>
    </header>
  );
}

/** How the connection is: in words, in colour, and as a status that screen readers tell. */
function ConnectionPill() {
  const connection = useLive((state) => state.connection);
  const now = useNow(250, connection.phase === 'waiting');
  const isLive = connection.phase === 'live';
  const isCalm = isLive || (connection.phase === 'connecting' && connection.failures === 0);
  const text = {
    live: 'Live',
    connecting: 'Connecting',
    stale: 'No data',
    waiting: 'Disconnected',
  }[connection.phase];
  const more = connection.phase === 'waiting' ? `, again in ${Math.max(0, Math.ceil((connection.retryAtMs - now) / 1000))} s` : '';
  const colour = isLive ? 'bg-good-soft text-good' : isCalm ? 'bg-raised text-muted' : 'bg-bad-soft text-bad';
  return (
    <div className={`flex h-7 items-center gap-2 rounded-full px-2.5 text-[0.8125rem] font-medium whitespace-nowrap ${colour}`}>
      <span className={`size-2 rounded-full bg-current ${isLive ? '' : 'animate-[breathe_1.2s_ease-in-out_infinite]'}`} aria-hidden="true" />
      <span role="status" data-testid="connection">
        {text}
      </span>
      {more !== '' && (
        <>
          <span className="numeric -ml-2 max-md:hidden">{more}</span>
          <button type="button" className="underline underline-offset-2" onClick={() => live.reconnect()}>
            Now
          </button>
        </>
      )}
    </div>
  );
}

function ThemeButton() {
  const theme = useTheme();
  const icon = { system: 'half', light: 'sun', dark: 'moon' } as const;
  const name = { system: 'as the system', light: 'light', dark: 'dark' }[theme];
  return (
    <Button kind="ghost" icon={icon[theme]} className="w-9 px-0!" title={`Colours: ${name}`} onClick={nextTheme}>
      <span className="sr-only">Colours: {name}</span>
    </Button>
  );
}
