// A real stack, started through the project's `testbed`: Redis, mongod and the service, on free ports, in a temporary
// folder that goes with it.

import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Snapshot } from '../src/api/types';

export const TOKEN = 'browser-tests-token';
const PROJECT = fileURLToPath(new URL('../../..', import.meta.url));

export type Order = `${'kill' | 'start'} ${'service' | 'redis' | 'mongodb'}` | `${'freeze' | 'thaw'} service`;

function testbed(): string {
  const named = process.env.SLUICE_TESTBED;
  if (named !== undefined && named !== '') return named;
  const target = process.env.CARGO_TARGET_DIR ?? join(PROJECT, 'target');
  const path = ['debug', 'release'].map((profile) => join(target, profile, 'testbed')).find(existsSync);
  if (path === undefined) throw new Error('no testbed: run make dashboard, or cargo build --bins');
  return path;
}

export class Stack {
  private constructor(
    readonly url: string,
    private readonly child: ChildProcessWithoutNullStreams,
    private readonly lines: Interface,
    private readonly folder: string,
  ) {}

  static async start(...serviceArguments: string[]): Promise<Stack> {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-browser-'));
    const child = spawn(testbed(), ['run', '--control', '--port', '0', '--data', folder, '--', '--admin-token', TOKEN, ...serviceArguments], { cwd: PROJECT });
    const lines = createInterface(child.stdout);
    let complaints = '';
    child.stderr.on('data', (text: Buffer) => (complaints += text.toString()));
    const first = await new Promise<string>((resolve, reject) => {
      lines.once('line', resolve);
      child.once('exit', (code) => reject(new Error(`testbed ended with ${String(code)}: ${complaints}`)));
    });
    const { service } = JSON.parse(first) as { service: string };
    return new Stack(service, child, lines, folder);
  }

  /** The link that logs in. */
  get link(): string {
    return `${this.url}/#token=${TOKEN}`;
  }

  /** Gives an order and waits until it is carried out. */
  async order(order: Order): Promise<void> {
    const answer = new Promise<string>((resolve) => this.lines.once('line', resolve));
    this.child.stdin.write(`${order}\n`);
    const text = await answer;
    if (!('done' in (JSON.parse(text) as object))) throw new Error(text);
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.stdin.end();
    await ended;
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Sends a loan; answers the status code. */
  async post(loan: unknown): Promise<number> {
    const response = await fetch(`${this.url}/api/loans/request`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(loan) });
    await response.arrayBuffer();
    return response.status;
  }

  /** Sends loans, some at a time, and repeats each until it is taken. */
  async postAll(loans: readonly unknown[], clients = 20): Promise<void> {
    const left = [...loans];
    const client = async () => {
      for (let loan = left.shift(); loan !== undefined; loan = left.shift()) {
        while ((await this.post(loan).catch(() => 0)) !== 202) await pause(20);
      }
    };
    await Promise.all(Array.from({ length: clients }, client));
  }

  async metrics(): Promise<Snapshot> {
    return (await (await fetch(`${this.url}/api/metrics`)).json()) as Snapshot;
  }

  /** Waits until everything that was taken is recorded. */
  async drained(): Promise<Snapshot> {
    const asked = Date.now();
    let first: number | null = null;
    return until('all is recorded', async () => {
      const metrics = await this.metrics();
      if (metrics.atMs <= asked) return null;
      // A snapshot is stamped after its state was read: only the second from now on has surely read what was posted.
      first ??= metrics.atMs;
      if (metrics.atMs === first) return null;
      const { queueDepth, inFlight, unrecorded } = metrics.gauges;
      const { admitted, retried, processed } = metrics.counters;
      return queueDepth + inFlight + unrecorded === 0 && processed === admitted + retried ? metrics : null;
    });
  }
}

let made = 0;

/** A loan with an id that no other has. */
export function loan(kind: 'good' | 'bad score' | 'no name' = 'good', prefix = 'GC'): Record<string, unknown> & { loanId: string } {
  made += 1;
  const number = String(made).padStart(6, '0');
  return {
    loanId: `${prefix}-${number}`,
    amount: 1169.5,
    currency: 'DEM',
    termMonths: 6,
    purpose: 'radio/television',
    creditScore: kind === 'bad score' ? 100 : 712,
    applicant: { ...(kind === 'no name' ? {} : { name: 'Ada' }), email: `ada${made % 40}@example.org`, ageYears: 67, annualIncome: 42_000 },
  };
}

export function loans(count: number, kind?: Parameters<typeof loan>[0], prefix?: string): ReturnType<typeof loan>[] {
  return Array.from({ length: count }, () => loan(kind, prefix));
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits until `look` answers something. */
export async function until<T>(what: string, look: () => Promise<T | null | false> | T | null | false): Promise<T> {
  const startedMs = Date.now();
  for (;;) {
    const found = await look();
    if (found !== null && found !== false) return found;
    if (Date.now() - startedMs > 60_000) throw new Error(`waited in vain until ${what}`);
    await pause(50);
  }
}
