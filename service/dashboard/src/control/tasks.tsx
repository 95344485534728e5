// What operators have set going: how far each task is, and a way to stop it.

import { useEffect, useState } from 'react';
import { stopTask, type Task } from '../api/operator';
import { plural } from '../format';
import { Button } from '../ui/button';
import { useLive, useSession } from '../ui/store';
import { asAdmin } from './actions';
import { isCounted, isOver, progressText, titleOf } from './progress';
import { refusal } from './session';

export function Tasks() {
  const tasks = useLive((state) => state.tasks);
  const [dismissed, setDismissed] = useState<ReadonlySet<string> | null>(null);
  useEffect(() => {
    // What had ended before the page was opened stands under Activity.
    if (tasks !== null) setDismissed((known) => known ?? new Set(tasks.filter(isOver).map(({ taskId }) => taskId)));
  }, [tasks]);
  const shown = (tasks ?? []).filter((task) => dismissed?.has(task.taskId) === false).slice(0, 3);
  if (shown.length === 0) return null;
  return (
    <ul aria-label="Tasks" className="mt-3 flex flex-col gap-2">
      {shown.map((task) => (
        <TaskView key={task.taskId} task={task} onDismiss={() => setDismissed(new Set([...(dismissed ?? []), task.taskId]))} />
      ))}
    </ul>
  );
}

function TaskView({ task, onDismiss }: { task: Task; onDismiss: () => void }) {
  const reason = refusal(useSession());
  const whole = task.done + task.skipped + task.remaining;
  const title = titleOf(task);
  return (
    <li className="rounded-lg border border-line bg-raised px-3 py-2">
      <div className="flex flex-wrap items-center gap-x-3 gap-y-1">
        <span className={`font-medium ${task.phase === 'failed' ? 'text-bad' : ''}`}>{title}</span>
        <span role="status" className="numeric min-w-0 text-muted wrap-anywhere">
          {progressText(task)}
          {task.remaining > 0 && isOver(task) ? `, ${plural(task.remaining, 'loan')} left as they were` : ''}, by {task.by}
          {task.fault == null ? '' : `: ${task.fault}`}
        </span>
        <span className="ml-auto">
          {isOver(task) ? (
            <Button small kind="ghost" icon="close" title="Dismiss" onClick={onDismiss}>
              <span className="sr-only">Dismiss</span>
            </Button>
          ) : task.kind === 'export' ? null : (
            <Button small reason={task.phase === 'stopping' ? 'Stopping …' : reason} onClick={() => void asAdmin((token) => stopTask(task.taskId, token))}>
              Stop
            </Button>
          )}
        </span>
      </div>
      <progress className="mt-1.5 h-1.5 w-full" max={Math.max(1, whole)} {...(isCounted(task) ? { value: task.done + task.skipped } : {})} aria-label={title} />
    </li>
  );
}
