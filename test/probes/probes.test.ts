import { describe, expect, it } from "vitest";
import { probes, runProbe } from "./table.ts";
import { startOurs } from "./target.ts";

/** `npm run bench -- probes` asks 10,000, and others' gateways the same questions. */
const MIXED_REQUESTS = 1_000;

describe("our gateway, probed", () => {
  it.each(probes(MIXED_REQUESTS).map((probe) => [probe.name, probe.right, probe] as const))(
    "%s: %s",
    { timeout: 180_000 },
    async (...[, , probe]) => {
      const { facts, isRight } = await runProbe(probe, startOurs);
      expect({ isRight, facts }).toEqual({ isRight: true, facts });
    },
  );
});
