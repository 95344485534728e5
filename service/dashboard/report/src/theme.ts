// The colours come from the report's own style sheet, so that light and dark need nothing here.

/** The colour that the style sheet gives a name at this moment. */
export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** The same, partly transparent. */
export function tint(name: string, opacity: number): string {
  const share = Math.round(opacity * 255).toString(16).padStart(2, '0');
  return `${colour(name)}${share}`;
}

/** Calls `redraw` when light turns to dark, or back. */
export function onTheme(redraw: () => void): void {
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
}

export const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif';
