import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { DEMO } from "../../scripts/demo/names.ts";
import { tryCommand } from "../../scripts/run-command.ts";
import { ensurePromtool } from "../../scripts/tools/promtool.ts";
import { openWorld, type World } from "./world.ts";

const podsSchema = z.object({ items: z.array(z.object({ metadata: z.object({ name: z.string() }) })) });

let world: World;
let promtool: string;

beforeAll(async () => {
  world = await openWorld();
  promtool = await ensurePromtool();
});

afterAll(() => world?.close());

/** The text that one process of a pod shows, through the API server. */
async function metricsOf(namespace: string, selector: string, port: number): Promise<string> {
  const { items } = podsSchema.parse(await world.kubectl.json(["-n", namespace, "get", "pods", "-l", selector]));
  const path = `/api/v1/namespaces/${namespace}/pods/${items[0]?.metadata.name ?? ""}:${port}/proxy/metrics`;
  return world.kubectl.run(["get", "--raw", path]);
}

const agent = (component: string): string =>
  `supercargo.dev/agent=${DEMO.agent},app.kubernetes.io/component=${component}`;

describe("what Prometheus scrapes", () => {
  it.each([
    [
      "operator",
      DEMO.systemNamespace,
      "app.kubernetes.io/component=operator",
      9090,
      "controller_runtime_reconcile_total",
    ],
    ["reporter", DEMO.systemNamespace, "app.kubernetes.io/component=reporter", 9090, "supercargo_reporter_mode_info"],
    ["gateway", DEMO.agentNamespace, agent("gateway"), 9090, "supercargo_usage_total"],
    ["orchestrator", DEMO.agentNamespace, agent("orchestrator"), 9090, "supercargo_usage_total"],
    ["sidecar", DEMO.agentNamespace, agent("gateway"), 9091, "supercargo_sidecar_scrapes_total"],
  ] as const)(
    "%s: promtool finds nothing to say about our series",
    async (...[, namespace, selector, port, series]) => {
      const text = await metricsOf(namespace, selector, port);
      expect(text).toContain(series);
      const { stdout, stderr } = await tryCommand([promtool, "check", "metrics"], { input: text });
      // prom-client names three gauges of Node's own with _total.
      const ours = `${stdout}${stderr}`.split("\n").filter((line) => line !== "" && !line.startsWith("nodejs_active_"));
      expect(ours).toEqual([]);
    },
  );
});
