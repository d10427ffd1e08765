import { describe, expect, it } from "vitest";
import { corefile } from "./addons.ts";

describe("corefile()", () => {
  it("rewrites nothing unless asked to", () => {
    expect(corefile({})).not.toContain("rewrite");
  });

  it("lets one name resolve as another, before the cluster's own zone is asked", () => {
    const lines = corefile({ "marketplaceapi.microsoft.com": "emulator.demo.svc.cluster.local" }).split("\n");
    const at = lines.indexOf("  rewrite name exact marketplaceapi.microsoft.com emulator.demo.svc.cluster.local");
    expect(at).toBeGreaterThan(0);
    expect(lines.findIndex((line) => line.includes("kubernetes cluster.local"))).toBeGreaterThan(at);
  });
});
