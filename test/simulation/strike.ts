import type { PortCall } from "../fakes/mortal.ts";
import type { FileCall } from "./memory-fs.ts";

/**
 * What becomes of a process at the call that is struck. Dies: it ends before the call, after it, in the middle of a write,
 * or before it with its log gone when it starts again. Fails: the call throws, undone or done, and the process goes on.
 */
export type Moment = "DiesBefore" | "DiesAfter" | "DiesWithin" | "DiesWithLog" | "Fails" | "FailsDone";

const DOING = ["open", "write", "writeFile", "rename", "close", "ftruncate", "fsync", "fdatasync", "updateStatus"];

/** Whether a moment differs from all others at a call of this name: what only reads cannot be half done. */
export function isStruck(name: string, moment: Moment): boolean {
  if (moment === "DiesWithin") return name === "write" || name === "writeFile";
  return moment === "DiesAfter" || moment === "FailsDone" ? DOING.includes(name) : true;
}

export interface StrikePlan {
  /** The number of the call, from 1; 0 strikes nothing. */
  readonly at: number;
  readonly moment: Moment;
  /** So many calls after the first strike there is a second one. @default none */
  readonly again?: number;
}

/** Stands between a process and its ports, counts its calls, and strikes at one of them. */
export class Strike {
  /** The names of the calls so far. */
  readonly calls: string[] = [];
  /** Another process calls. */
  isPaused = false;
  /** Nothing that the process still tries has an effect. */
  isDead = false;
  readonly #at: readonly number[];
  readonly #moment: Moment;
  readonly #onDeath: () => void;

  constructor({ at, moment, again = 0 }: StrikePlan, onDeath: () => void) {
    this.#at = [at, at + again];
    this.#moment = moment;
    this.#onDeath = onDeath;
  }

  /** A file call throws in the hands of the process. */
  file<T>({ name, run, runHalf }: FileCall<T>): T {
    const fate = this.#fateOf(name);
    if (fate === "Runs") return run();
    if (fate === "Struck")
      try {
        if (this.#moment === "DiesWithin") runHalf?.();
        if (this.#isDone) run();
      } finally {
        this.#strike();
      }
    throw new Error(`EIO: ${name} of call ${this.calls.length}`);
  }

  /** A request is answered with a failure, or never when nobody is left to hear it. */
  async port<T>({ name, run, failed }: PortCall<T>): Promise<T> {
    const fate = this.#fateOf(name);
    if (fate === "Runs") return run();
    if (fate === "Struck") {
      if (this.#isDone) await run();
      this.#strike();
    }
    return this.isDead ? new Promise(() => undefined) : failed;
  }

  get #isDone(): boolean {
    return this.#moment === "DiesAfter" || this.#moment === "FailsDone";
  }

  #fateOf(name: string): "Runs" | "Struck" | "Lost" {
    if (this.isPaused) return "Runs";
    if (this.isDead) return "Lost";
    this.calls.push(name);
    return this.#at.includes(this.calls.length) ? "Struck" : "Runs";
  }

  #strike(): void {
    if (this.#moment === "Fails" || this.#moment === "FailsDone") return;
    this.isDead = true;
    this.#onDeath();
  }
}
