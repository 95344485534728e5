// What every live chart has around it: a place beside the static one, a line that reads out, keys, and a size that follows
// the page.

import type uPlot from 'uplot';

/** A live chart, or several that move together. */
export interface Frame {
  /** Where the charts are put. */
  body: HTMLElement;
  /** Says what the cursor is on. With `aloud`, to those who cannot see it too. */
  say: (text: string, aloud?: boolean) => void;
  /** Shows or hides the button that ends a zoom. */
  zoomed: (is: boolean) => void;
}

export interface Keys {
  /** Moves the cursor by so many steps. */
  move: (steps: number) => void;
  /** Zooms in (below 1) or out (above 1) around the cursor. */
  zoom: (factor: number) => void;
  /** Shows everything again. */
  reset: () => void;
}

const HELP = 'Drag to zoom in, double-click to see all. With the keyboard: arrows move, + and − zoom, Escape shows all.';

/** Puts a live chart in the place of the static one called `name`; `build` fills it. */
export function replace(name: string, label: string, build: (frame: Frame) => Keys): void {
  const still = document.querySelector<HTMLElement>(`[data-live="${name}"]`);
  if (!still) return;
  const live = add(null, 'div', 'live');
  const bar = add(live, 'div', 'livebar');
  const reading = add(bar, 'p', 'reading');
  const all = add(bar, 'button', 'all');
  all.type = 'button';
  all.textContent = 'Show all';
  all.hidden = true;
  const body = add(live, 'div', 'livebody');
  body.tabIndex = 0;
  body.setAttribute('role', 'group');
  body.setAttribute('aria-label', `${label}. ${HELP}`);
  const spoken = add(live, 'p', 'spoken');
  spoken.setAttribute('aria-live', 'polite');
  reading.textContent = HELP;
  still.before(live);
  try {
    const keys = build({
      body,
      say(text, aloud = false) {
        reading.textContent = text === '' ? HELP : text;
        if (aloud) spoken.textContent = text;
      },
      zoomed(is) {
        all.hidden = !is;
      },
    });
    all.addEventListener('click', keys.reset);
    body.addEventListener('keydown', (event) => press(event, keys));
    for (const element of document.querySelectorAll(`[data-live="${name}"], [data-live-note="${name}"]`)) {
      element.classList.add('replaced');
    }
  } catch (error) {
    // The static chart stays.
    live.remove();
    throw error;
  }
}

function press(event: KeyboardEvent, keys: Keys): void {
  const steps = event.shiftKey ? 10 : 1;
  const acts: Record<string, () => void> = {
    ArrowLeft: () => keys.move(-steps),
    ArrowRight: () => keys.move(steps),
    '+': () => keys.zoom(0.5),
    '=': () => keys.zoom(0.5),
    '-': () => keys.zoom(2),
    Escape: () => keys.reset(),
  };
  const act = event.ctrlKey || event.metaKey || event.altKey ? undefined : acts[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
}

/** Keeps the charts as wide as their place. */
export function fit(body: HTMLElement, charts: uPlot[]): void {
  const apply = () => {
    const width = body.clientWidth;
    if (width === 0) return;
    for (const chart of charts) {
      if (chart.width !== width) chart.setSize({ width, height: chart.height });
    }
  };
  new ResizeObserver(apply).observe(body);
  apply();
}

/** A new element, at the end of `parent`. */
export function add<T extends keyof HTMLElementTagNameMap>(parent: HTMLElement | null, tag: T, name = ''): HTMLElementTagNameMap[T] {
  const element = document.createElement(tag);
  if (name !== '') element.className = name;
  parent?.append(element);
  return element;
}
