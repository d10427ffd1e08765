import { describe, expect, it } from "vitest";
import { PROBES, runProbe } from "./table.ts";
import { startOurs } from "./target.ts";

/** `npm run bench -- probes` asks others' gateways the same. */
describe("our gateway, probed", () => {
  it.each(PROBES.map((probe) => [probe.name, probe.right, probe] as const))(
    "%s: %s",
    { timeout: 90_000 },
    async (...[, , probe]) => {
      const { facts, verdict } = await runProbe(probe, startOurs);
      expect({ verdict, facts }).toEqual({ verdict: "right", facts });
    },
  );
});
