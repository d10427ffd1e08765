import { countInputTokens, type Prompt } from "./model-prompt.ts";
import { countOutputTokens, type Answer } from "./model-script.ts";

export interface Usage {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cachedTokens: number;
  readonly reasoningTokens: number;
}

/** What an answer carries beside its content. */
export interface AnswerMeta {
  readonly id: string;
  readonly createdSeconds: number;
  /** Asked under `/openai/v1`: Azure's filter annotations are added. */
  readonly azure: boolean;
  readonly callIds: readonly string[];
  readonly usage: Usage;
  readonly newId: (prefix: string) => string;
}

/** Usage of an answer given `choices` times. Cached tokens never exceed the input, reasoning is part of the output. */
export function countUsage(prompt: Prompt, answer: Answer, choices: number): Usage {
  const inputTokens = countInputTokens(prompt);
  return {
    inputTokens,
    outputTokens: countOutputTokens(answer) * choices,
    cachedTokens: Math.min(answer.cachedTokens, inputTokens),
    reasoningTokens: answer.reasoningTokens * choices,
  };
}
