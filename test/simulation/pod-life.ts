import type { PodUsage, PodUsageStatus } from "#core/api/pod-usage.ts";
import type { Clock } from "#runtime/clock.ts";
import type { KubeClient, KubeObject, KubeResult, WatchEnd, WatchHandlers } from "#runtime/kube/types.ts";
import type { PodDoor } from "./pod-processes.ts";

interface Sleeper {
  readonly dueMs: number;
  readonly resolve: () => void;
}

const NEVER = new Promise<never>(() => undefined);

/** One life of a sidecar's process: its clock and its connection to the API server. Dead, nothing ever answers it again. */
export class PodLife {
  isDead = false;
  /** At the end of a pod nobody fires timers: a sleep just lets its time pass. */
  isStopping = false;
  readonly clock: Clock;
  readonly client: KubeClient;
  readonly #door: PodDoor;
  readonly #sleepers = new Set<Sleeper>();
  #watch: { readonly handlers: WatchHandlers; readonly end: (end: WatchEnd) => void } | undefined;
  #sleptMs = 0;

  constructor(door: PodDoor) {
    this.#door = door;
    const startMs = door.nowMs();
    const monotonic = (): number => door.nowMs() - startMs + this.#sleptMs;
    this.clock = {
      now: () => door.nowMs() + this.#sleptMs,
      monotonic,
      after: () => () => undefined,
      sleep: (ms, signal) => this.#sleep(monotonic() + ms, signal),
    };
    this.client = this.#createClient();
  }

  wake(): void {
    const nowMs = this.clock.monotonic();
    for (const sleeper of this.#sleepers) if (sleeper.dueMs <= nowMs) sleeper.resolve();
  }

  told(object: PodUsage | undefined): void {
    if (object) this.#watch?.handlers.onEvent({ type: "MODIFIED", object });
    else if (this.#watch) {
      const gone = { apiVersion: "supercargo.dev/v1alpha1", kind: "PodUsage", metadata: { name: this.#door.uid } };
      this.#watch.handlers.onEvent({ type: "DELETED", object: gone });
      this.#watch.end({ kind: "Closed" });
    }
  }

  cut(): void {
    this.#watch?.end({ kind: "Failed", error: { kind: "Unreachable", status: 0, message: "cut off" } });
  }

  #sleep(dueMs: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.isDead) return NEVER;
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(new Error("Aborted"));
      if (this.isStopping) {
        this.#sleptMs += Math.max(0, dueMs - this.clock.monotonic());
        // Whoever slept before the end began goes on as well: a follower that waits to read again.
        this.wake();
        return resolve();
      }
      const sleeper: Sleeper = {
        dueMs,
        resolve: () => {
          this.#sleepers.delete(sleeper);
          resolve();
        },
      };
      this.#sleepers.add(sleeper);
      signal?.addEventListener("abort", () => {
        if (this.#sleepers.delete(sleeper)) reject(new Error("Aborted"));
      });
    });
  }

  #createClient(): KubeClient {
    const unused = (): Promise<never> => Promise.reject(new Error("A sidecar makes no such call"));
    return {
      get: () => this.#get(),
      updateStatus: (_ref, object) => this.#updateStatus(object),
      watch: (_ref, _query, handlers) => this.#follow(handlers),
      list: unused,
      collect: unused,
      create: unused,
      update: unused,
      apply: unused,
      applyStatus: unused,
      patchMerge: unused,
      delete: unused,
      read: unused,
      close: () => undefined,
    };
  }

  async #get(): Promise<KubeResult<KubeObject>> {
    if (this.isDead) return NEVER;
    if (this.#door.isCut()) return failed("Unreachable");
    const object = this.#door.api.podUsages.get(this.#door.uid);
    return object ? this.#ok(object) : failed("NotFound");
  }

  async #updateStatus(object: KubeObject): Promise<KubeResult<KubeObject>> {
    if (this.isDead) return NEVER;
    if (this.#door.isCut()) return failed("Unreachable");
    const fault = this.#door.takeWriteFault();
    const { status, metadata } = object;
    if (!isStatus(status)) throw new Error("A sidecar published no status");
    const put = (): PodUsage | "Conflict" | "NotFound" | "Invalid" =>
      this.#door.api.putStatus(this.#door.uid, metadata.resourceVersion, status);
    if (fault === "Fail") return failed("Throttled");
    if (fault === "Delay") {
      this.#door.delay(put);
      return failed("Unreachable");
    }
    const written = put();
    if (fault === "FailDone") return failed("Unreachable");
    return typeof written === "string" ? failed(written) : this.#ok(written);
  }

  #follow(handlers: WatchHandlers): Promise<WatchEnd> {
    if (this.isDead) return NEVER;
    if (this.#door.isCut())
      return Promise.resolve({ kind: "Failed", error: { kind: "Unreachable", status: 0, message: "cut off" } });
    return new Promise((resolve) => {
      const end = (how: WatchEnd): void => {
        this.#watch = undefined;
        resolve(how);
      };
      this.#watch = { handlers, end };
      handlers.signal.addEventListener("abort", () => end({ kind: "Closed" }));
    });
  }

  #ok(value: KubeObject): KubeResult<KubeObject> {
    return { ok: true, value, dateMs: Math.floor(this.#door.apiNowMs() / 1000) * 1000 };
  }
}

function failed(kind: "Unreachable" | "NotFound" | "Throttled" | "Conflict" | "Invalid"): KubeResult<never> {
  return { ok: false, error: { kind, status: 0, message: kind } };
}

function isStatus(value: unknown): value is PodUsageStatus {
  return typeof value === "object" && value !== null && "totals" in value && "sequence" in value;
}
