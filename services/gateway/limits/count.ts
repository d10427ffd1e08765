import { Refusal } from "#core/errors.ts";
import type { BaseDimension } from "#core/usage.ts";
import type { Counters } from "#runtime/counters.ts";
import type { Logger } from "#runtime/log.ts";
import type { AnswerReport } from "../upstream/answer.ts";
import type { TokenUsage } from "../wire/usage.ts";
import { estimateTokens } from "../wire/usage.ts";

/** Base units of one unit of work. */
export type CountedUsage = Readonly<Record<string, bigint>> & { readonly [D in BaseDimension]?: bigint };

/** Money's side of the gateway: nothing is answered that is not in the counter file. */
export interface Meter {
  /** Throws Refusal `metering_unavailable` when the count cannot be stored. */
  count(usage: CountedUsage): void;
  /** Adds to what the next `commit` stores. */
  stage(usage: CountedUsage): void;
  /** Stores what is staged; throws like `count`, and then none of it is counted. */
  commit(): void;
  /** Throws the same while the file could not be written at the last attempt and still cannot. */
  check(): void;
  /** Why the pod is not ready, if the file cannot be written. */
  problem(): string | undefined;
}

/** The dimensions that a gateway counts; they show as 0 from the start. */
export const GATEWAY_DIMENSIONS = [
  "input_tokens",
  "cached_input_tokens",
  "output_tokens",
  "model_requests",
  "agent_requests",
] as const satisfies readonly BaseDimension[];

export function createMeter(counters: Pick<Counters, "count" | "stage" | "commit">, log: Logger): Meter {
  let problem: string | undefined;
  const store = (write: () => void): void => {
    try {
      write();
      problem = undefined;
    } catch (error) {
      if (problem === undefined) log.error({ err: error }, "Failed to store usage");
      problem = "Cannot write the counter file";
      throw new Refusal("metering_unavailable", "Cannot answer as usage could not be written down", { cause: error });
    }
  };
  return {
    count: (usage) => store(() => counters.count(usage)),
    stage: (usage) => counters.stage(usage),
    commit: () => store(counters.commit),
    check() {
      if (problem !== undefined) store(() => counters.count({}));
    },
    problem: () => problem,
  };
}

/** What a model's answer is counted as. */
export interface ModelCount {
  readonly usage: TokenUsage;
  /** Nothing was reported: an answer that was cut, or an upstream that tells nothing. */
  readonly isEstimated: boolean;
  readonly counted: CountedUsage;
}

/** Reported usage, else four bytes a token of what was sent and of what had come back. */
export function toModelCount(report: AnswerReport, promptBytes: number): ModelCount {
  const usage = report.usage ?? {
    inputTokens: estimateTokens(promptBytes),
    cachedInputTokens: 0,
    outputTokens: estimateTokens(report.outputBytes),
    reasoningTokens: 0,
  };
  return {
    usage,
    isEstimated: report.usage === undefined,
    counted: {
      input_tokens: BigInt(usage.inputTokens),
      cached_input_tokens: BigInt(usage.cachedInputTokens),
      output_tokens: BigInt(usage.outputTokens),
      model_requests: 1n,
    },
  };
}
