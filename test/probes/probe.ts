import type { Models, ProbeTarget, TargetOptions } from "./target.ts";

/** What was seen, in the order in which it is told. `absent` names what this gateway has not at all. */
export type Facts = Readonly<Record<string, string | number | boolean>>;

/** `absent`: the gateway does not claim to do this, so that it does nothing wrong. */
export type Verdict = "right" | "wrong" | "absent";

/** One line of the table of probes: a question to any gateway, whose facts are judged afterwards. */
export interface Probe {
  readonly name: string;
  /** The right answer, in words. */
  readonly right: string;
  /** What the gateway needs beside its models. */
  readonly needs?: (models: Models) => Promise<{
    readonly options: Omit<TargetOptions, "models">;
    stop(): Promise<void>;
  }>;
  observe(target: ProbeTarget, models: Models): Promise<Facts>;
  isRight(facts: Facts): boolean;
}

/** Looks every 10 ms, at most so long; the time it took, or nothing when it did not come. */
export async function waitFor(look: () => boolean | Promise<boolean>, withinMs: number): Promise<number | undefined> {
  const startMs = performance.now();
  while (performance.now() - startMs < withinMs) {
    if (await look()) return performance.now() - startMs;
    await new Promise<void>((resolve) => {
      const timer = setInterval(() => {
        clearInterval(timer);
        resolve();
      }, 10);
    });
  }
  return undefined;
}

/** A fact as a number; NaN, which no comparison holds for, where it is none. */
export function numberOf(value: string | number | boolean | undefined): number {
  return typeof value === "number" ? value : Number.NaN;
}
