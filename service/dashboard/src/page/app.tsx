import { ChartPanel } from '../charts/panel';
import { Tasks } from '../control/tasks';
import { ErrorsPanel } from '../errors/panel';
import { useLive } from '../ui/store';
import { Toasts } from '../ui/toasts';
import { Activity } from './activity';
import { AllFigures } from './all-figures';
import { Banners } from './banners';
import { Header } from './header';
import { Instances } from './instances';
import { Shards } from './shards';
import { Totals } from './totals';

/** The page. From 1,800 pixels on, the errors stand beside the charts and all is in sight at once. */
export function App() {
  return (
    <>
      <a href="#main" className="sr-only focus:not-sr-only focus:fixed focus:top-3 focus:left-3 focus:z-50 focus:rounded-lg focus:bg-accent focus:px-3 focus:py-2 focus:text-on-accent">
        Skip to the figures
      </a>
      <Header />
      <Banners />
      <main id="main" tabIndex={-1} className="grid gap-3 p-3 outline-none sm:gap-4 sm:p-5 3xl:min-h-0 3xl:flex-1 3xl:grid-cols-[minmax(0,1.35fr)_minmax(0,1fr)] 3xl:grid-rows-[auto_minmax(0,1fr)] 3xl:p-8 3xl:pt-6 3xl:pb-4">
        <h1 className="sr-only">Sluice, live</h1>
        <div className="min-w-0 3xl:col-span-2">
          <Totals />
          <Tasks />
        </div>
        <div className="flex min-w-0 flex-col gap-3 sm:gap-4 3xl:min-h-0">
          <ChartPanel />
          <Shards />
          <Activity />
        </div>
        <ErrorsPanel />
      </main>
      <Footer />
      <Toasts />
    </>
  );
}

function Footer() {
  const build = useLive((state) => state.firstVersion);
  const link = 'underline-offset-2 hover:text-ink hover:underline';
  return (
    <footer className="flex flex-wrap gap-x-5 gap-y-1 px-4 pb-4 text-xs text-muted sm:px-6 3xl:px-9 3xl:pb-3">
      <span>Sluice {build}</span>
      <a className={link} href="/openapi.json">
        API
      </a>
      <a className={link} href="/metrics">
        Metrics
      </a>
      <AllFigures className={link} />
      <Instances className={link} />
      <a className={link} href="/licences.txt">
        Licences
      </a>
    </footer>
  );
}
