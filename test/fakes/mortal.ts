import type { Clock } from "#runtime/clock.ts";
import type { KubeError } from "#runtime/kube/types.ts";
import type { PodUsageServer } from "./pod-usage-server.ts";

/** One call of the sidecar: `run` does it, `failed` is the answer of a call that failed. */
export interface PortCall<T> {
  readonly name: "get" | "updateStatus" | "watch" | "scrape";
  readonly run: () => Promise<T>;
  readonly failed: T;
}
/** May run the call, answer in its place, or never answer. */
export type PortGuard = <T>(call: PortCall<T>) => Promise<T>;

/** A promise that never settles once its owner is dead: so ends what a killed process had begun. */
export function untilDeath<T>(result: Promise<T>, signal: AbortSignal): Promise<T> {
  return result.then(
    (value) => (signal.aborted ? never() : value),
    (error: unknown) => {
      if (signal.aborted) return never();
      throw error;
    },
  );
}

function never(): Promise<never> {
  return new Promise(() => undefined);
}

/** Without this the loops of the dead would go on turning. */
export function mortalClock(clock: Clock, signal: AbortSignal): Clock {
  return {
    ...clock,
    after: (ms, run) => clock.after(ms, () => void (signal.aborted || run())),
    sleep: (ms, until) => (signal.aborted ? never() : untilDeath(clock.sleep(ms, until), signal)),
  };
}

/** A client whose calls pass the guard; a dead process makes none, and its watches end. */
export function guardedClient(
  client: PodUsageServer["client"],
  { guard, signal }: { readonly guard: PortGuard; readonly signal: AbortSignal },
): PodUsageServer["client"] {
  const error: KubeError = { kind: "Unreachable", status: 0, message: "ECONNRESET" };
  const call = <T>(part: PortCall<T>): Promise<T> => (signal.aborted ? never() : guard(part));
  return {
    get: (...args) => call({ name: "get", run: () => client.get(...args), failed: { ok: false, error } }),
    updateStatus: (...args) =>
      call({ name: "updateStatus", run: () => client.updateStatus(...args), failed: { ok: false, error } }),
    watch: (ref, query, handlers) =>
      call({
        name: "watch",
        run: () => client.watch(ref, query, { ...handlers, signal: AbortSignal.any([signal, handlers.signal]) }),
        failed: { kind: "Failed", error },
      }),
  };
}
