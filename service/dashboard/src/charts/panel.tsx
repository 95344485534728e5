import { useEffect, useId, useRef, useState, useSyncExternalStore, type KeyboardEvent } from 'react';
import { clock, instant } from '../format';
import { runningAt } from '../live/runs';
import { Button } from '../ui/button';
import { Icon } from '../ui/icons';
import { live, useLive } from '../ui/store';
import { charts } from './shared';
import { CHART_NAMES, LEGEND, type ChartName } from './charts';
import { isOfDays, SPANS, spanLabel, spanTitle, type Span } from './window';

const TITLES: Record<ChartName, { title: string; unit: string; height: string; grow: string }> = {
  rates: { title: 'Throughput', unit: 'loans per second', height: 'h-56 sm:h-64 3xl:h-auto 3xl:min-h-0 3xl:flex-1', grow: '3xl:flex-[4]' },
  queue: { title: 'Queue and workers', unit: 'loans, workers at the right', height: 'h-36 sm:h-40 3xl:h-auto 3xl:min-h-0 3xl:flex-1', grow: '3xl:flex-[3]' },
  latency: { title: 'Latency', unit: 'logarithmic', height: 'h-44 sm:h-52 3xl:h-auto 3xl:min-h-0 3xl:flex-1', grow: '3xl:flex-[4]' },
};

/** What each line looks like, for the legend; the same as in `LINES`. */
const SWATCHES: Record<string, string> = {
  recordedRate: 'border-recorded',
  admittedRate: 'border-ingested',
  processedRate: 'border-processed border-dashed',
  queueDepth: 'border-queue',
  unrecorded: 'border-recorded border-dashed',
  workers: 'border-workers',
  admitP50: 'border-ingested border-dotted',
  admitP99: 'border-ingested',
  endToEndP50: 'border-recorded border-dotted',
  endToEndP99: 'border-recorded',
  clientP50: 'border-client border-dotted',
  clientP99: 'border-client border-dashed',
};

export function ChartPanel() {
  const isEmpty = useLive((state) => state.snapshot === null);
  const hasRun = useLive((state) => state.runs.length > 0);
  return (
    <section aria-label="Charts" className="card min-w-0 3xl:flex 3xl:min-h-0 3xl:flex-[4] 3xl:flex-col">
      <Toolbar />
      <div className="pb-2 3xl:flex 3xl:min-h-0 3xl:flex-1 3xl:flex-col">
        {CHART_NAMES.map((name) => (
          <Chart key={name} name={name} isEmpty={isEmpty} hasRun={hasRun} />
        ))}
      </div>
    </section>
  );
}

/** An instant of a stretch that was zoomed into; of days with its date. */
function when(at: number, { span }: { span: Span }): string {
  return isOfDays(span) ? instant(at * 1000, live.nowMs()) : clock(at * 1000);
}

function Toolbar() {
  const view = useSyncExternalStore(charts.subscribe, () => charts.view);
  const group = useId();
  const runs = useLive((state) => state.runs);
  const run = runningAt(runs, live.nowMs());
  return (
    <div className="flex flex-wrap items-center gap-x-4 gap-y-2 px-4 pt-3 pb-1">
      <h2 className="text-base font-semibold">{view.mode === 'live' ? spanTitle(view.span) : 'Zoomed'}</h2>
      {run !== null && (
        <span className="flex items-center gap-1.5 rounded-full bg-accent-soft px-2.5 py-0.5 text-[0.8125rem] font-medium text-accent" data-testid="run">
          <Icon name="flag" className="size-3.5!" />
          Load run {run.scenario}
        </span>
      )}
      {view.mode === 'fixed' && (
        <div className="flex items-center gap-2 text-[0.8125rem]">
          <span className="numeric rounded-md bg-accent-soft px-2 py-1 font-medium text-accent" data-testid="zoomed">
            {when(view.from, view)} – {when(view.to, view)}
          </span>
          <Button small icon="play" onClick={() => charts.setSpan(view.span)}>
            Back to live
          </Button>
        </div>
      )}
      <div className="ml-auto flex items-center gap-1">
        <Button kind="ghost" small icon="zoomOut" title="Zoom out (−)" onClick={() => charts.zoom(null, 2)}>
          <span className="sr-only">Zoom out</span>
        </Button>
        <Button kind="ghost" small icon="zoomIn" title="Zoom in (+), or drag across a chart" onClick={() => charts.zoom(null, 0.5)}>
          <span className="sr-only">Zoom in</span>
        </Button>
        <fieldset className="ml-1 flex rounded-lg border border-strong-line">
          <legend className="sr-only">Shown time</legend>
          {SPANS.map((span) => (
            <label
              key={span}
              className="cursor-pointer px-2.5 py-1 text-[0.8125rem] font-medium text-muted first-of-type:rounded-l-[7px] last-of-type:rounded-r-[7px] hover:text-ink has-checked:bg-accent has-checked:text-on-accent has-focus-visible:outline-2 has-focus-visible:outline-offset-2 has-focus-visible:outline-accent"
            >
              <input
                type="radio"
                name={group}
                className="sr-only"
                checked={view.mode === 'live' && view.span === span}
                onChange={() => {
                  charts.setSpan(span);
                  const query = new URLSearchParams(location.search);
                  query.set('minutes', String(span / 60));
                  history.replaceState(history.state, '', `?${query.toString()}`);
                }}
              />
              {spanLabel(span)}
            </label>
          ))}
        </fieldset>
      </div>
    </div>
  );
}

function Chart({ name, isEmpty, hasRun }: { name: ChartName; isEmpty: boolean; hasRun: boolean }) {
  const box = useRef<HTMLDivElement>(null);
  const [spoken, setSpoken] = useState({ at: 0, text: '' });
  const { title, unit, height, grow } = TITLES[name];
  useEffect(() => (box.current === null ? undefined : charts.mount(name, box.current)), [name, hasRun]);

  const onKeyDown = (event: KeyboardEvent) => {
    const rows = event.shiftKey ? 10 : 1;
    if (event.key === 'ArrowLeft') setSpoken(charts.step(name, -rows));
    else if (event.key === 'ArrowRight') setSpoken(charts.step(name, rows));
    else if (event.key === '+' || event.key === '=') charts.zoom(null, 0.5);
    else if (event.key === '-') charts.zoom(null, 2);
    else if (event.key === 'Escape') {
      charts.leave();
      charts.setSpan(charts.view.span);
    } else return;
    event.preventDefault();
  };

  const lines = LEGEND[name].filter((line) => hasRun || !line.column.startsWith('client'));
  return (
    <div
      role="group"
      aria-label={`${title}, ${unit}. Arrow keys read the values, plus and minus zoom, Escape goes back to live.`}
      aria-roledescription="chart"
      tabIndex={0}
      className={`relative mx-1.5 rounded-lg pt-2 3xl:flex 3xl:min-h-0 3xl:flex-col ${grow}`}
      onKeyDown={onKeyDown}
      onBlur={() => charts.leave()}
    >
      <div className="flex flex-wrap items-baseline gap-x-4 gap-y-1 px-3 pb-1.5">
        <h3 className="font-medium">
          {title} <span className="ml-1 font-normal text-muted max-sm:hidden">{unit}</span>
        </h3>
        <dl className="ml-auto flex flex-wrap gap-x-4 gap-y-0.5 text-[0.8125rem] max-sm:ml-0">
          {lines.map((line) => (
            <div key={line.column} className="flex items-baseline gap-1.5">
              <dt className="flex items-baseline gap-1.5 text-muted">
                <span className={`w-4 self-center border-t-2 ${SWATCHES[line.column] ?? ''}`} aria-hidden="true" />
                {line.label}
              </dt>
              <dd className="numeric min-w-[3.5em] font-medium" data-column={line.column}>
                –
              </dd>
            </div>
          ))}
        </dl>
      </div>
      <div className="relative 3xl:flex 3xl:min-h-0 3xl:flex-1 3xl:flex-col" aria-hidden="true">
        <div ref={box} className={`overflow-hidden ${height}`} data-chart={name} />
        <div
          data-tip=""
          hidden
          className="numeric pointer-events-none absolute top-6 left-0 z-10 w-max max-w-72 rounded-md border border-line bg-raised px-2 py-1 text-xs leading-4 whitespace-pre-line text-ink shadow-md"
        />
        {isEmpty && <div className="absolute inset-0 grid place-items-center text-muted">Waiting for data</div>}
      </div>
      <div role="status" className="sr-only" data-at={spoken.at}>
        {spoken.text}
      </div>
    </div>
  );
}
