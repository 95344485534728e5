// What operators have set going: how far each task is, and a way to stop it.

import { useEffect, useState, useSyncExternalStore } from 'react';
import { fetchTasks, stopTask, type Task } from '../api/operator';
import { plural } from '../format';
import { Button } from '../ui/button';
import { useLive, useSession } from '../ui/store';
import { asAdmin } from './actions';
import { isOver, progressText, titleOf } from './progress';
import { refusal } from './session';

const EVERY_MS = 1_000;
const CALM_EVERY_MS = 10_000;
let asked = 0;
const listeners = new Set<() => void>();

/** A task was begun: it is looked for at once. */
export function lookForTasks(): void {
  asked += 1;
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function Tasks() {
  const [tasks, setTasks] = useState<readonly Task[]>([]);
  const [dismissed, setDismissed] = useState<ReadonlySet<string> | null>(null);
  const isLive = useLive((state) => state.connection.phase === 'live');
  const wanted = useSyncExternalStore(subscribe, () => asked);
  const isRunning = tasks.some((task) => !isOver(task));
  useEffect(() => {
    if (!isLive) return;
    const ask = () => {
      fetchTasks().then(
        (answer) => {
          setTasks(answer.tasks);
          // What had ended before the page was opened stands under Activity.
          setDismissed((known) => known ?? new Set(answer.tasks.filter(isOver).map(({ taskId }) => taskId)));
        },
        () => {
          // Asked again soon.
        },
      );
    };
    ask();
    const timer = setInterval(ask, isRunning ? EVERY_MS : CALM_EVERY_MS);
    return () => clearInterval(timer);
  }, [isLive, isRunning, wanted]);
  const shown = tasks.filter((task) => dismissed?.has(task.taskId) === false).slice(0, 3);
  if (shown.length === 0) return null;
  return (
    <ul aria-label="Tasks" className="mt-3 flex flex-col gap-2">
      {shown.map((task) => (
        <TaskView key={task.taskId} task={task} onStopped={(stopped) => setTasks(tasks.map((other) => (other.taskId === stopped.taskId ? stopped : other)))} onDismiss={() => setDismissed(new Set([...(dismissed ?? []), task.taskId]))} />
      ))}
    </ul>
  );
}

function TaskView({ task, onStopped, onDismiss }: { task: Task; onStopped: (task: Task) => void; onDismiss: () => void }) {
  const reason = refusal(useSession());
  const whole = task.done + task.skipped + task.remaining;
  const title = titleOf(task);
  const stop = async () => {
    const stopped = await asAdmin((token) => stopTask(task.taskId, token));
    if (stopped !== null) onStopped(stopped);
  };
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
          ) : (
            <Button small reason={task.phase === 'stopping' ? 'Stopping …' : reason} onClick={() => void stop()}>
              Stop
            </Button>
          )}
        </span>
      </div>
      <progress className="mt-1.5 h-1.5 w-full accent-accent" max={Math.max(1, whole)} value={task.done + task.skipped} aria-label={title} />
    </li>
  );
}
