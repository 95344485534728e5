import type { ComponentProps } from 'react';
import { Icon, type IconName } from './icons';

const KINDS = {
  plain: 'border-strong-line bg-surface text-ink enabled:hover:bg-raised',
  primary: 'border-transparent bg-accent text-on-accent enabled:hover:brightness-110',
  danger: 'border-transparent bg-bad text-surface enabled:hover:brightness-110',
  ghost: 'border-transparent text-muted enabled:hover:bg-raised enabled:hover:text-ink',
} as const;

interface Props extends Omit<ComponentProps<'button'>, 'disabled'> {
  kind?: keyof typeof KINDS;
  icon?: IconName;
  small?: boolean;
  /** Why it does nothing now. It stays focusable, so that the reason can be read. */
  reason?: string | null;
}

export function Button({ kind = 'plain', icon, small = false, reason = null, className = '', children, onClick, ...rest }: Props) {
  const size = small ? 'h-7 px-2 text-[0.8125rem] gap-1' : 'h-9 px-3 gap-1.5';
  const isOff = reason !== null;
  return (
    <button
      type="button"
      {...rest}
      className={`inline-flex shrink-0 items-center justify-center rounded-lg border font-medium whitespace-nowrap transition-colors ${size} ${KINDS[kind]} ${isOff ? 'cursor-not-allowed! opacity-55' : ''} ${className}`}
      aria-disabled={isOff || undefined}
      title={reason ?? rest.title}
      onClick={(event) => {
        if (!isOff) onClick?.(event);
        else event.preventDefault();
      }}
    >
      {icon !== undefined && <Icon name={icon} />}
      {children}
      {isOff && <span className="sr-only"> ({reason})</span>}
    </button>
  );
}
