import { describe, expect, it } from "vitest";
import { soakGateway } from "./traffic/soak.ts";

const SEED = Math.floor(Math.random() * 2 ** 31);

describe("a gateway after 3,000 streams, a tenth of them left by their clients", () => {
  it("holds nothing, and has no more sockets and timers than before", { timeout: 240_000 }, async () => {
    const result = await soakGateway({ streams: 3_000, seed: SEED });
    expect(result.problems, `seed ${SEED}`).toEqual([]);
    expect(result.calls).toBeGreaterThan(3_000);
    // It looked: both servers listen.
    expect(result.resources.after["TCPServerWrap"]).toBe(2);
  });
});
