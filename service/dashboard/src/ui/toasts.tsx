// Results of what a person did, at the lower edge.

import { useEffect, useSyncExternalStore } from 'react';
import { Icon } from './icons';

export interface Toast {
  id: number;
  kind: 'good' | 'bad';
  text: string;
}

const LASTS_MS = 8_000;
let toasts: readonly Toast[] = [];
let nextId = 1;
const listeners = new Set<() => void>();

function set(list: readonly Toast[]): void {
  toasts = list;
  for (const listener of listeners) listener();
}

export function say(kind: Toast['kind'], text: string): void {
  set([...toasts, { id: nextId++, kind, text }].slice(-4));
}

function drop(id: number): void {
  set(toasts.filter((toast) => toast.id !== id));
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function Toasts() {
  const list = useSyncExternalStore(subscribe, () => toasts);
  return (
    <div role="status" aria-label="Results" className="pointer-events-none fixed inset-x-4 bottom-4 z-50 flex flex-col items-end gap-2">
      {list.map((toast) => (
        <ToastView key={toast.id} toast={toast} />
      ))}
    </div>
  );
}

function ToastView({ toast }: { toast: Toast }) {
  useEffect(() => {
    const timer = setTimeout(() => drop(toast.id), LASTS_MS);
    return () => clearTimeout(timer);
  }, [toast.id]);
  return (
    <div className="pointer-events-auto flex max-w-md animate-[rise_.2s_ease-out] items-start gap-2.5 rounded-lg border border-line bg-raised px-4 py-3 shadow-lg">
      <Icon name={toast.kind} className={`mt-0.5 ${toast.kind === 'good' ? 'text-good' : 'text-bad'}`} />
      <span>{toast.text}</span>
      <button type="button" className="-mr-1 ml-1 rounded p-0.5 text-muted hover:text-ink" aria-label="Dismiss" onClick={() => drop(toast.id)}>
        <Icon name="close" />
      </button>
    </div>
  );
}
