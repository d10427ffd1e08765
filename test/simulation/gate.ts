/** Thrown by a port to play the end of a process: memory is lost, the world stays. */
export class Crash extends Error {}

/** A call that failed, as its caller sees it; whether it was done stands in the kind of stop. */
export class CallFailed extends Error {}

/**
 * What happens at one call of a process. …Done: the call was carried out, its answer never came. Delay: the caller gives
 * up, the request lands later. Pause: the process stands still before the call, or (Done) after it, and may go on later.
 */
export type Stop = "Crash" | "CrashDone" | "Fail" | "FailDone" | "Delay" | "Pause" | "PauseDone";

/** All calls of one process to the outside pass here, in order, so that any single one can be stopped. */
export class Gate {
  calls = 0;
  stopAt = 0;
  how: Stop = "Crash";
  /** Only calls of this name count; nothing: all do. */
  only: string | undefined;
  /** Told when the process stands still. */
  onPause: () => void = () => undefined;
  /** Takes requests that land later. */
  readonly delay: (land: () => void) => void;
  #resume: (() => void) | undefined;

  constructor(delay: (land: () => void) => void) {
    this.delay = delay;
  }

  /** Stops at the `at`th call from now, or the `at`th of that name; 0: at none. */
  arm(at: number, how: Stop, only?: string): void {
    this.calls = 0;
    this.stopAt = at;
    this.how = how;
    this.only = only;
  }

  get isPaused(): boolean {
    return this.#resume !== undefined;
  }

  resume(): void {
    const resume = this.#resume;
    this.#resume = undefined;
    resume?.();
  }

  async pass<T>(run: () => T | Promise<T>, call?: string): Promise<T> {
    if (!this.#isStop(call)) return run();
    switch (this.how) {
      case "Crash":
        throw new Crash();
      case "CrashDone":
        await run();
        throw new Crash();
      case "Fail":
        throw new CallFailed("503");
      case "FailDone":
        await run();
        throw new CallFailed("no answer");
      case "Delay":
        this.delay(() => void run());
        throw new CallFailed("timeout");
      case "Pause":
        await this.#hold();
        return run();
      case "PauseDone": {
        const result = await run();
        await this.#hold();
        return result;
      }
    }
  }

  #isStop(call: string | undefined): boolean {
    if (this.only !== undefined && call !== this.only) return false;
    this.calls += 1;
    return this.calls === this.stopAt;
  }

  #hold(): Promise<void> {
    return new Promise((resolve) => {
      this.#resume = resolve;
      this.onPause();
    });
  }
}
