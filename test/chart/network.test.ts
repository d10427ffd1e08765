import { describe, expect, it } from "vitest";
import { z } from "zod";
import { find, type Manifest, PROFILES, render } from "./helm.ts";
import { podTemplates } from "./pods.ts";

const ruleSchema = z.looseObject({
  to: z
    .array(
      z.looseObject({
        ipBlock: z.looseObject({ cidr: z.string(), except: z.array(z.string()).optional() }).optional(),
      }),
    )
    .optional(),
  from: z.array(z.looseObject({})).optional(),
  ports: z.array(z.looseObject({ port: z.number(), protocol: z.string() })).optional(),
});
const policySchema = z.looseObject({
  metadata: z.looseObject({ name: z.string() }),
  spec: z.looseObject({
    podSelector: z.looseObject({ matchLabels: z.record(z.string(), z.string()) }),
    policyTypes: z.array(z.string()),
    ingress: z.array(ruleSchema).default([]),
    egress: z.array(ruleSchema).default([]),
  }),
});
type Policy = z.output<typeof policySchema>;

function policies(manifests: readonly Manifest[]): Policy[] {
  return manifests.filter((one) => one.kind === "NetworkPolicy").map((one) => policySchema.parse(one));
}

function selects(policy: Policy, labels: Readonly<Record<string, string>>): boolean {
  return Object.entries(policy.spec.podSelector.matchLabels).every(([key, value]) => labels[key] === value);
}

function toNumber(address: string): number {
  return address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
}

function isInRange(address: string, cidr: string): boolean {
  const [base = "", bits = "32"] = cidr.split("/");
  if (base.includes(":")) return false;
  const size = 2 ** (32 - Number(bits));
  return Math.floor(toNumber(address) / size) === Math.floor(toNumber(base) / size);
}

/** Whether the policies of a pod let it reach an IPv4 address and TCP port outside the cluster. */
function reaches(egress: Policy["spec"]["egress"], address: string, port: number): boolean {
  return egress.some(
    (rule) =>
      (rule.ports ?? []).some((one) => one.port === port && one.protocol === "TCP") &&
      (rule.to ?? []).some(
        ({ ipBlock }) =>
          ipBlock !== undefined &&
          isInRange(address, ipBlock.cidr) &&
          !(ipBlock.except ?? []).some((except) => isInRange(address, except)),
      ),
  );
}

async function egressOf(component: string, profile = "default"): Promise<Policy["spec"]["egress"]> {
  return policySchema.parse(find(await render({ profile }), "NetworkPolicy", `supercargo-${component}`)).spec.egress;
}

describe.each(PROFILES)("network policies with the values %s", (profile) => {
  it("deny both ways by default for every pod, and each has one of its own", async () => {
    const manifests = await render({ profile });
    const all = policies(manifests);
    const templates = podTemplates(manifests);
    expect(templates.size).toBe(2);
    for (const [name, pod] of templates) {
      const covering = all.filter((policy) => selects(policy, pod.metadata.labels)).map((one) => one.metadata.name);
      expect(covering.toSorted()).toEqual([name.replace(/-[a-z]+$/, "-default-deny"), name].toSorted());
    }
    for (const policy of all) expect(policy.spec.policyTypes).toEqual(["Ingress", "Egress"]);
    const deny = all.find((policy) => policy.metadata.name.endsWith("-default-deny"));
    expect(deny?.spec).toMatchObject({ ingress: [], egress: [] });
  });

  it("have no rule without peers or without ports, which would mean all", async () => {
    const rules = policies(await render({ profile })).flatMap(({ spec }) => [...spec.ingress, ...spec.egress]);
    const open = rules.filter((rule) => (rule.to ?? rule.from ?? []).length === 0 || (rule.ports ?? []).length === 0);
    expect(open).toEqual([]);
  });
});

describe("reach of the pods", () => {
  const IMDS = "169.254.169.254";
  const PUBLIC = "13.107.42.14";
  it.each([
    ["operator", "marketplace", IMDS, 80, false],
    ["operator", "marketplace", IMDS, 443, false],
    ["reporter", "marketplace", IMDS, 80, true],
    ["reporter", "marketplace", IMDS, 443, false],
    ["reporter", "marketplace", PUBLIC, 443, true],
    ["reporter", "marketplace", PUBLIC, 80, false],
    ["reporter", "production", IMDS, 80, false],
    ["reporter", "production", PUBLIC, 443, false],
    ["operator", "production", PUBLIC, 443, false],
    ["operator", "production", "203.0.113.10", 443, true],
    ["operator", "production", "203.0.113.11", 443, false],
    ["operator", "default", "169.254.10.10", 53, true],
    ["operator", "default", "169.254.10.11", 53, true],
    ["operator", "default", "169.254.20.10", 53, true],
    ["operator", "default", "10.0.0.1", 6443, true],
    ["operator", "default", "10.0.0.1", 5432, false],
  ] as const)("%s with %s values to %s:%i is %s", async (...row) => {
    const [component, profile, address, port, expected] = row;
    expect(reaches(await egressOf(component, profile), address, port)).toBe(expected);
  });

  it.each([
    "10.1.2.3",
    "172.16.0.9",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "127.0.0.1",
    "169.254.1.1",
    "224.0.0.1",
  ])("the Marketplace rule leaves out %s", async (address) => {
    const egress = await egressOf("reporter", "marketplace");
    const marketplace = egress.filter((rule) => JSON.stringify(rule).includes("192.168.0.0/16"));
    expect(marketplace).toHaveLength(1);
    expect(reaches(marketplace, address, 443)).toBe(false);
    expect(reaches(marketplace, PUBLIC, 443)).toBe(true);
  });

  it("adds the reporter's own rules to the reporter alone", async () => {
    expect(JSON.stringify(await egressOf("reporter", "emulator"))).toContain("supercargo-azure");
    expect(JSON.stringify(await egressOf("operator", "emulator"))).not.toContain("supercargo-azure");
  });

  it("lets nobody in when nobody may scrape", async () => {
    const manifests = await render({ values: { networkPolicy: { metrics: { from: [] } } } });
    expect(policies(manifests).flatMap((policy) => policy.spec.ingress)).toEqual([]);
    const open = policies(await render()).flatMap((policy) => policy.spec.ingress.flatMap((rule) => rule.ports));
    expect(open).toEqual([
      { port: 9090, protocol: "TCP" },
      { port: 9090, protocol: "TCP" },
    ]);
  });
});
