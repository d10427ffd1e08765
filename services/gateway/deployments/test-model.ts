import type { Clock } from "#runtime/clock.ts";
import type { Asked, Play, Watcher } from "./test-upstream.ts";

/** What a second reading of docs/gateway.md, "Where to", says of what upstreams see; it shares no line with the breaker. */
export interface Model extends Watcher {
  /** Laws that did not hold, in words. */
  readonly broken: string[];
  attempts(): number;
  requests(): number;
  probes(): number;
  /** When each attempt came. */
  times(): readonly number[];
}

interface Seen {
  readonly rank: number;
  streak: number;
  level: number;
  openUntilMs: number;
  /** The request that is its probe. */
  probe: string | undefined;
  pausedUntilMs: number;
  /** Requests sent since it was last opened or probed. */
  readonly current: Set<string>;
}

const FAULTS = 5;
const ATTEMPTS = 3;
const FIVE_MINUTES_MS = 300_000;

export function createModel(clock: Clock, ranks: readonly (readonly string[])[]): Model {
  return new Onlooker(clock, ranks);
}

class Onlooker implements Model {
  readonly broken: string[] = [];
  readonly #clock: Clock;
  readonly #seen: ReadonlyMap<string, Seen>;
  readonly #tried = new Map<string, string[]>();
  readonly #times: number[] = [];
  #probes = 0;

  constructor(clock: Clock, ranks: readonly (readonly string[])[]) {
    this.#clock = clock;
    this.#seen = new Map(
      ranks.flatMap((names, rank) =>
        names.map((name) => [
          name,
          { rank, streak: 0, level: 0, openUntilMs: 0, probe: undefined, pausedUntilMs: 0, current: new Set<string>() },
        ]),
      ),
    );
  }

  attempts = (): number => this.#times.length;
  requests = (): number => this.#tried.size;
  probes = (): number => this.#probes;
  times = (): readonly number[] => this.#times;

  asked({ deployment, requestId }: Asked): void {
    const nowMs = this.#clock.monotonic();
    const one = this.#of(deployment);
    const tried = this.#tried.get(requestId) ?? [];
    this.#judge(deployment, { tried, nowMs });
    if (tried.length >= ATTEMPTS) this.#break(`${requestId} was sent ${tried.length + 1} times`);
    this.#tried.set(requestId, [...tried, deployment]);
    this.#times.push(nowMs);
    if (one.openUntilMs > 0) {
      this.#probes += 1;
      one.probe = requestId;
      one.current.clear();
    }
    one.current.add(requestId);
  }

  #judge(name: string, { tried, nowMs }: { readonly tried: readonly string[]; readonly nowMs: number }): void {
    const one = this.#of(name);
    if (nowMs < one.pausedUntilMs)
      this.#break(`${name} was asked ${one.pausedUntilMs - nowMs} ms before its wait was over`);
    if (nowMs < one.openUntilMs) this.#break(`${name} was asked while it is open`);
    if (one.probe !== undefined) this.#break(`${name} was asked while ${one.probe} is its probe`);
    for (const [better, other] of this.#seen)
      if (other.rank < one.rank && !tried.includes(better) && this.#mayBeAsked(other, nowMs))
        this.#break(`${name} was asked while ${better} stands before it`);
  }

  begun({ deployment, requestId }: Asked): void {
    const one = this.#of(deployment);
    if (one.probe === requestId) this.#close(one, FAULTS - 1);
  }

  ended({ deployment, requestId }: Asked, play: Play | "gone"): void {
    const nowMs = this.#clock.monotonic();
    const one = this.#of(deployment);
    const isTold = play !== "gone" && play.kind === "told";
    if (isTold) one.pausedUntilMs = Math.max(one.pausedUntilMs, nowMs + Math.min(FIVE_MINUTES_MS, play.waitMs));
    if (!one.current.delete(requestId)) return;
    const isProbe = one.probe === requestId;
    if (play === "gone") {
      if (isProbe) one.probe = undefined;
    } else if (isTold) {
      if (isProbe) this.#close(one, FAULTS - 1);
    } else if (isGood(play)) {
      this.#close(one, 0);
      one.level = 0;
    } else this.#fault(one, isProbe);
  }

  #fault(one: Seen, isProbe: boolean): void {
    one.streak += 1;
    if (!isProbe && one.streak < FAULTS) return;
    one.openUntilMs = this.#clock.monotonic() + Math.min(FIVE_MINUTES_MS, 10_000 * 2 ** one.level);
    one.level += 1;
    one.streak = 0;
    one.probe = undefined;
    one.current.clear();
  }

  #close(one: Seen, streak: number): void {
    one.openUntilMs = 0;
    one.probe = undefined;
    one.streak = streak;
  }

  #mayBeAsked(one: Seen, nowMs: number): boolean {
    return one.pausedUntilMs <= nowMs && one.openUntilMs <= nowMs && one.probe === undefined;
  }

  #of(deployment: string): Seen {
    const seen = this.#seen.get(deployment);
    if (seen === undefined) throw new Error(`No deployment has the name ${deployment}`);
    return seen;
  }

  #break(what: string): void {
    this.broken.push(`${this.#clock.monotonic()} ms: ${what}`);
  }
}

function isGood({ kind, status }: Play): boolean {
  return kind === "whole" || (kind === "status" && status === 400);
}
