import { describe, expect, it } from "vitest";
import { z } from "zod";
import { environmentSchema as operatorSchema } from "../../operator/config.ts";
import {
  environmentSchema as reporterSchema,
  readEnvironment,
  readTerms,
} from "../../services/meter/reporter/config.ts";
import { PROFILES, render } from "./helm.ts";
import { environmentOf, podTemplates } from "./pods.ts";

/** Set by Node or a proxy, read by no schema of ours. */
const NOT_OURS = /^(NODE_|HTTPS?_PROXY$|NO_PROXY$|TZ$)/;

async function environment(component: string, profile: string): Promise<Readonly<Record<string, string>>> {
  const templates = podTemplates(await render({ profile }));
  const found = [...templates].find(([name]) => name.endsWith(`-${component}`))?.[1];
  if (found === undefined) throw new Error(`There is no Deployment of the ${component}`);
  return environmentOf(found);
}

/** The chart and the process agree on names and on values. */
describe.each(PROFILES)("environment with the values %s", (profile) => {
  it("is one that the operator starts with, and it reads every variable", async () => {
    const variables = await environment("operator", profile);
    const parsed = operatorSchema.safeParse(variables);
    expect(parsed.error?.issues ?? []).toEqual([]);
    const unread = Object.keys(variables).filter((name) => !NOT_OURS.test(name) && !(name in operatorSchema.shape));
    expect(unread).toEqual([]);
  });

  it("is one that the reporter starts with, and it reads every variable", async () => {
    const variables = await environment("reporter", profile);
    const parsed = readEnvironment(variables);
    const unread = Object.keys(variables).filter((name) => !NOT_OURS.test(name) && !(name in reporterSchema.shape));
    expect(unread).toEqual([]);
    const map = (await render({ profile })).find((one) => one.metadata.name.endsWith("-catalogue"));
    const { data } = z.looseObject({ data: z.object({ "catalogue.yaml": z.string() }) }).parse(map);
    const mode = variables["SUPERCARGO_PLAN_ID"] === "" ? "Plain" : "Marketplace";
    expect(readTerms(parsed, data["catalogue.yaml"]).mode).toBe(mode);
  });
});
