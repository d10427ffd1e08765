import { describe, expect, it } from "vitest";
import { countStreams } from "./traffic/count.ts";

/** Every run has another seed, told when it fails: `npm run bench -- gateway-count --streams 1000 --seed N` plays it again. */
const SEED = Math.floor(Math.random() * 2 ** 31);

describe("the gateway's count of mixed traffic", () => {
  it(
    "is what the model sent, to the token, and for streams whose client left no less than it saw and no more than was sent",
    { timeout: 120_000 },
    async () => {
      const result = await countStreams({ streams: 1_000, seed: SEED });
      expect(result.problems, `seed ${SEED}`).toEqual([]);
      expect(result.whole.counted).toEqual(result.whole.sent);
      expect(result.total.counted).toEqual(result.total.audited);
      expect(result.whole.sent.requests).toBeGreaterThan(800);
      expect(result.cancelled.requests).toBeGreaterThan(30);
      expect(result.cancelled.countedTokens).toBeGreaterThan(0);
    },
  );
});
