// Measures the page as an eye does: does text run over other text, out of its box, or is it cut where nobody can read on?

import type { Page } from 'playwright-core';
import { pause } from './stack';

/** How often a page at fault is looked at again, and the pause before. */
const LOOKS_MAX = 40;
const LOOK_PAUSE_MS = 50;

/**
 * The faults of the layout that stay. A page that was given another size is drawn anew in some frames, more of them on a slow
 * machine; what is at fault only meanwhile nobody sees.
 */
export async function boxFaults(page: Page): Promise<string[]> {
  let faults = await faultsNow(page);
  for (let looks = 1; looks < LOOKS_MAX && faults.length > 0; looks += 1) {
    await pause(LOOK_PAUSE_MS);
    faults = await faultsNow(page);
  }
  return faults;
}

/**
 * Every fault of the layout that is in sight, in words. A piece of text is at fault when it
 * - lies over another text or over a control that it is no part of,
 * - sticks out of a box that it is in, or out of the window,
 * - is cut, and neither can be scrolled to nor stands whole in a title. Numbers are never cut, title or not.
 */
function faultsNow(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    interface Box {
      left: number;
      top: number;
      right: number;
      bottom: number;
    }
    interface Piece extends Box {
      element: Element;
      name: string;
      layer: Element | null;
      isControl: boolean;
    }
    const faults = new Set<string>();
    const CONTROLS = 'button, a, input, select, textarea, summary';
    const isThin = (box: Box) => box.right - box.left <= 1.5 || box.bottom - box.top <= 1.5;
    const short = (text: string) => (text.length > 40 ? `${text.slice(0, 37)}…` : text);
    const shown = (box: Box) => `${Math.round(box.left)},${Math.round(box.top)} to ${Math.round(box.right)},${Math.round(box.bottom)}`;

    /** What is read aloud alone, or stands on no line of its own. */
    const isUnseen = (element: Element): boolean => {
      if (!element.checkVisibility({ visibilityProperty: true })) return true;
      for (let at: Element | null = element; at !== null; at = at.parentElement) {
        const style = getComputedStyle(at);
        if (style.position === 'absolute' && style.overflow !== 'visible' && isThin(at.getBoundingClientRect())) return true;
      }
      return false;
    };
    const layerOf = (element: Element): Element | null => {
      for (let at: Element | null = element; at !== null; at = at.parentElement) {
        if (at.matches('dialog') || ['fixed', 'sticky'].includes(getComputedStyle(at).position) || at.hasAttribute('data-tip')) return at;
      }
      return null;
    };
    /** Whether the whole of a cut text can be read: it stands in a title, and it is no number. */
    const isTold = (element: Element, text: string): boolean => {
      if (element.closest('.numeric') !== null) return false;
      const title = element.closest('[title]')?.getAttribute('title') ?? '';
      return title.includes(text.trim());
    };

    /** The part of a box that can be seen; `null` when none of it is. Complains about what is lost for good. */
    const visible = (box: Box, element: Element, text: string | null): Box | null => {
      const seen = { left: box.left, top: box.top, right: box.right, bottom: box.bottom };
      const name = text === null ? element.tagName : `"${short(text)}"`;
      let isOutside = false;
      for (let at: Element | null = element; at !== null && at !== document.documentElement; at = at.parentElement) {
        const style = getComputedStyle(at);
        if (style.display === 'contents' || (style.display === 'inline' && at !== element)) continue;
        const border = at.getBoundingClientRect();
        const clips = (overflow: string) => overflow !== 'visible';
        const scrolls = (overflow: string) => overflow === 'auto' || overflow === 'scroll';
        if (clips(style.overflowX)) {
          const isCut = seen.right > border.right + 1 || seen.left < border.left - 1;
          if (isCut && text !== null && !scrolls(style.overflowX) && !isTold(element, text)) faults.add(`cut: ${name} ${shown(box)} by ${shown(border)}`);
          seen.left = Math.max(seen.left, border.left);
          seen.right = Math.min(seen.right, border.right);
        }
        if (clips(style.overflowY)) {
          const isCut = seen.bottom > border.bottom + 3 || seen.top < border.top - 3;
          if (isCut && text !== null && !scrolls(style.overflowY)) faults.add(`cut: ${name} ${shown(box)} by ${shown(border)}`);
          seen.top = Math.max(seen.top, border.top);
          seen.bottom = Math.min(seen.bottom, border.bottom);
        }
        if (seen.left >= seen.right || seen.top >= seen.bottom) return null;
        const isBlock = style.display !== 'inline';
        if (!isOutside && isBlock && !clips(style.overflowX) && (seen.right > border.right + 1 || seen.left < border.left - 1)) {
          faults.add(`sticks out: ${name} ${shown(seen)} of ${at.tagName.toLowerCase()} ${shown(border)}`);
          isOutside = true;
        }
        if (!isOutside && isBlock && !clips(style.overflowY) && (seen.bottom > border.bottom + 4 || seen.top < border.top - 4)) {
          faults.add(`sticks out: ${name} ${shown(seen)} of ${at.tagName.toLowerCase()} ${shown(border)}`);
          isOutside = true;
        }
        // What is placed by hand lies where it was put.
        if (style.position === 'fixed') break;
        if (style.position === 'absolute' || style.position === 'sticky') isOutside = true;
      }
      if (seen.right > innerWidth + 1 || seen.left < -1) faults.add(`sticks out: ${name} ${shown(seen)} of the window, ${innerWidth} wide`);
      return seen;
    };

    const dialogs = [...document.querySelectorAll('dialog[open]')];
    const root = dialogs.at(-1) ?? document.body;
    const pieces: Piece[] = [];

    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
      const element = node.parentElement;
      const text = node.textContent?.trim() ?? '';
      if (element === null || text === '' || ['SCRIPT', 'STYLE', 'OPTION', 'TEXTAREA'].includes(element.tagName) || isUnseen(element)) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      for (const rect of range.getClientRects()) {
        if (rect.width < 1) continue;
        const seen = visible(rect, element, text);
        if (seen === null) continue;
        // A line is taller than its letters.
        const slack = 0.2 * (seen.bottom - seen.top);
        pieces.push({ left: seen.left, right: seen.right, top: seen.top + slack, bottom: seen.bottom - slack, element, name: `"${short(text)}"`, layer: layerOf(element), isControl: false });
      }
    }
    const canvas = document.createElement('canvas').getContext('2d');
    for (const element of root.querySelectorAll<HTMLElement>(CONTROLS)) {
      if (isUnseen(element)) continue;
      const rect = element.getBoundingClientRect();
      const name = `${element.tagName.toLowerCase()} "${short(element.textContent === '' ? (element.getAttribute('aria-label') ?? '') : element.textContent)}"`;
      if (element.tagName !== 'A') {
        const seen = visible(rect, element, null);
        if (seen !== null) pieces.push({ ...seen, element, name, layer: layerOf(element), isControl: true });
      }
      // What stands in a field is no text of the page.
      const isField = element instanceof HTMLSelectElement || (element instanceof HTMLInputElement && element.type !== 'radio' && element.type !== 'checkbox');
      if (isField && canvas !== null) {
        const style = getComputedStyle(element);
        canvas.font = style.font;
        const isDate = element instanceof HTMLInputElement && element.type === 'datetime-local';
        const text = element instanceof HTMLSelectElement ? (element.selectedOptions[0]?.text ?? '') : isDate ? '12/31/2026, 12:59:59 PM' : element.value === '' ? element.placeholder : '';
        const room = element.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight) - (isDate ? 36 : element instanceof HTMLSelectElement ? 18 : 0);
        const needed = canvas.measureText(text).width;
        if (needed > room + 1 && !isTold(element, text)) faults.add(`cut: "${short(text)}" in a ${element.tagName.toLowerCase()} needs ${Math.round(needed)} of ${Math.round(room)}`);
      }
    }

    pieces.sort((a, b) => a.top - b.top);
    pieces.forEach((a, index) => {
      for (const b of pieces.slice(index + 1)) {
        if (b.top >= a.bottom) break;
        if (a.element === b.element || a.layer !== b.layer) continue;
        const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (width <= 1 || height <= 1) continue;
        const areOne = (outer: Piece, inner: Piece) => outer.isControl && outer.element.contains(inner.element);
        if (areOne(a, b) || areOne(b, a)) continue;
        faults.add(`overlap: ${a.name} and ${b.name} by ${Math.round(width)} × ${Math.round(height)}`);
      }
    });
    const { scrollWidth, clientWidth } = document.documentElement;
    if (scrollWidth > clientWidth) faults.add(`the page is ${scrollWidth} wide, the window ${clientWidth}`);
    const told = [...faults].sort();
    const MOST = 20;
    return told.length <= MOST ? told : [...told.slice(0, MOST), `and ${told.length - MOST} more`];
  });
}
