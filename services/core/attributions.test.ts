import { describe, expect, it } from "vitest";
import { nameTeams, teamsOf, toShares } from "./attributions.ts";
import type { PodView } from "./counted.ts";

function pod(agent: string, team: string | undefined, createdMs: number): PodView {
  return { uid: agent, agent, team, createdMs, reportedMs: 0, final: false, totals: new Map(), boundaries: [] };
}
const entry = { agent: "shop/orders", dimension: "d", billed: "0", free: "0" };

describe("the team of a share", () => {
  it("is the newest label of the agent's pods, else the last one known, whichever dimension knows it", () => {
    const known = [{ ...entry, dimension: "a", team: "old" }, entry];
    expect(teamsOf(known, [])).toEqual(new Map([["shop/orders", "old"]]));
    const pods = [pod("shop/orders", "new", 2), pod("shop/orders", "older", 1), pod("shop/plain", undefined, 3)];
    const teams = teamsOf(known, pods);
    expect(teams).toEqual(new Map([["shop/orders", "new"]]));
    expect(nameTeams(known, teams).map(({ team }) => team)).toEqual(["new", "new"]);
    const parts = new Map([
      ["shop/orders", 2n],
      ["shop/plain", 1n],
    ]);
    expect(toShares(parts, { hour: "2026112208", teams })).toEqual([
      { agent: "shop/orders", team: "new", attributedHour: "2026112208", baseUnits: "2" },
      { agent: "shop/plain", attributedHour: "2026112208", baseUnits: "1" },
    ]);
  });
});
