import type { Intent } from "#core/api/usage-statement.ts";
import type { PostAnswer } from "#core/outcome.ts";
import { type HttpReply, readBatchReply } from "./marketplace-answers.ts";

/** One batch call to Azure. */
export type SendBatch = (intents: readonly Intent[]) => Promise<HttpReply>;

/**
 * One answer per intent. What is refused as malformed in company is asked again alone: whether one bad item, or two of one
 * hour, spoil a batch is unconfirmed, and nobody says which item is meant (marketplace.md §11).
 */
export async function postInBatches(send: SendBatch, intents: readonly Intent[]): Promise<PostAnswer[]> {
  const reply = await send(intents);
  const [only, ...others] = intents;
  if (!only || others.length === 0) return readBatchReply(reply, intents);
  const isRefused = reply.status === 400;
  const answers: PostAnswer[] = [];
  for (const [index, answer] of readBatchReply(reply, intents).entries()) {
    const alone = intents.slice(index, index + 1);
    const mustAsk = isRefused || answer.status === "BadArgument";
    answers.push(...(mustAsk ? readBatchReply(await send(alone), alone) : [answer]));
  }
  return answers;
}
