import { expect, it } from "vitest";
import { z } from "zod";
import { seedSchema } from "../../services/emulator/seed.ts";
import { azureObjects } from "./azure.ts";
import { readCatalogue } from "./catalogue.ts";
import { DEMO } from "./names.ts";

const seedMap = z.object({ kind: z.literal("ConfigMap"), data: z.object({ "resources.json": z.string() }) });

it("tells the emulator of every plan that the chart packages, in a form that it starts with", () => {
  const map = azureObjects("image").find((object) => seedMap.safeParse(object).success);
  const seed = seedSchema.parse(JSON.parse(seedMap.parse(map).data["resources.json"]));
  const sold = readCatalogue().plans.map(({ id, dimensions }) => [id, dimensions.map((entry) => entry.id)]);
  expect(seed.resources[0]?.plans.map(({ planId, dimensions }) => [planId, dimensions])).toEqual(sold);
  expect(sold.find(([id]) => id === DEMO.plan)?.[1]).toEqual([
    "workflow_completed",
    "tool_action",
    "tokens_1k_in",
    "tokens_1k_out",
    "documents_analyzed",
  ]);
});
