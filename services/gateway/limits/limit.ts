import { Refusal } from "#core/errors.ts";
import type { Gateway } from "../gateway.ts";
import { type ModelOperation, type OpenAIRequest, outputCap } from "../wire/openai.ts";

const TOKENS_OF_INPUT: ReadonlySet<string> = new Set(["input_tokens", "cached_input_tokens"]);

/**
 * The hard limits of the plan: keeps the worst case of the work while it runs, so that what is counted never exceeds a
 * ceiling. Throws Refusal `hard_limit_reached` when too little is left; then nothing has begun.
 */
export async function withinLimits(
  gateway: { readonly live: Pick<Gateway["live"], "holds"> },
  need: Readonly<Record<string, bigint>>,
  work: () => Promise<void>,
): Promise<void> {
  const hold = gateway.live.holds.hold(need);
  if (!hold.ok)
    throw new Refusal(
      "hard_limit_reached",
      `Cannot serve as the plan's limit of ${hold.dimension} is used up, or too little is left for this request`,
    );
  try {
    await work();
  } finally {
    hold.release();
  }
}

/** What bounds a model call. */
interface CallShape {
  readonly operation: ModelOperation;
  readonly request: OpenAIRequest;
  readonly outputTokensMax: number;
}

/** The tokens that a rate takes before they are known: four bytes of a body are a token in the mean, and all of the cap. */
export function likelyTokens({ operation, request, outputTokensMax }: CallShape): number {
  return Math.ceil(request.bytes.length / 4) + outputCap(operation, request, outputTokensMax);
}

/**
 * The most that a model call can count. A token is at least one byte of text, so the body bounds the input; the cap bounds
 * the output. Throws Refusal where the plan limits input and the request has content of unknown length.
 */
export function worstCaseOf(gateway: Gateway, call: CallShape): Record<string, bigint> {
  const { operation, request } = call;
  const leases = gateway.live.control()?.leases ?? [];
  if (leases.some(({ dimension }) => TOKENS_OF_INPUT.has(dimension))) refuseUnbounded(request);
  const input = BigInt(request.bytes.length);
  return {
    input_tokens: input,
    cached_input_tokens: input,
    output_tokens: BigInt(outputCap(operation, request, call.outputTokensMax)),
    model_requests: 1n,
  };
}

function refuseUnbounded({ unboundedKey: found }: OpenAIRequest): void {
  if (found === undefined) return;
  throw new Refusal(
    "unsupported_parameter",
    `Cannot bound the input of this request, as the plan limits input tokens: ${found} must be absent, send text`,
    { param: found },
  );
}
