import { describe, expect, it } from "vitest";
import { z } from "zod";
import {
  AGENT_PERMISSIONS,
  CLUSTER_PERMISSIONS,
  DEFAULT_NAMESPACE_PERMISSIONS,
  OWN_NAMESPACE_PERMISSIONS,
  PATH_PERMISSIONS,
  type Permission,
} from "../../operator/permissions.ts";
import { find, type Manifest, PROFILES, render } from "./helm.ts";

const ruleSchema = z.object({
  apiGroups: z.array(z.string()).default([]),
  resources: z.array(z.string()).default([]),
  resourceNames: z.array(z.string()).default([]),
  nonResourceURLs: z.array(z.string()).default([]),
  verbs: z.array(z.string()),
});
type Rule = z.output<typeof ruleSchema>;

function rulesOf(manifest: Manifest): Rule[] {
  return z.looseObject({ rules: z.array(ruleSchema) }).parse(manifest).rules;
}

function roles(manifests: readonly Manifest[]): Manifest[] {
  return manifests.filter((one) => one.kind === "Role" || one.kind === "ClusterRole");
}

/** A role as lines: `group/resource[names]: verbs`. */
function linesOf(manifest: Manifest): string[] {
  return rulesOf(manifest)
    .flatMap((rule) => [
      ...rule.nonResourceURLs.map((url) => `${url}: ${rule.verbs.join(" ")}`),
      ...rule.resources.map((resource) => {
        const names = rule.resourceNames.length === 0 ? "" : `[${rule.resourceNames.join(" ")}]`;
        return `${rule.apiGroups.join(",")}/${resource}${names}: ${rule.verbs.join(" ")}`;
      }),
    ])
    .toSorted();
}

/** The same lines from the operator's own table, which its tests run with. */
function linesOfPermissions(permissions: readonly Permission[]): string[] {
  return permissions.map(({ group, resource, verbs, names = [] }) => {
    const only = names.length === 0 ? "" : `[${names.join(" ")}]`;
    return `${group}/${resource}${only}: ${verbs.join(" ")}`;
  });
}

const OPERATOR_AGENTS = linesOfPermissions(AGENT_PERMISSIONS);
const OPERATOR_CLUSTER = [
  ...linesOfPermissions(CLUSTER_PERMISSIONS),
  ...PATH_PERMISSIONS.map((path) => `${path}: get`),
];

/** Every right of the installation. A line more here is a decision: docs/security.md says why each stands. */
const RIGHTS: Readonly<Record<string, readonly string[]>> = {
  "ClusterRole/supercargo-operator": [...OPERATOR_AGENTS, ...OPERATOR_CLUSTER],
  "ClusterRole/supercargo-reporter": [
    "/pods: get",
    "supercargo.dev/podusages: get list watch patch delete",
    "supercargo.dev/usageledgers: get list watch create update",
    "supercargo.dev/usagestatements: delete",
    "supercargo.dev/usagestatements: get list watch create update",
  ],
  "ClusterRole/supercargo-sidecar": [
    "supercargo.dev/podusages/status: get update",
    "supercargo.dev/podusages: get list watch",
  ],
  "ClusterRole/supercargo-orchestrator": ["supercargo.dev/approvals: create get"],
  "ClusterRole/supercargo-view": ["agentdeployments", "approvals", "podusages", "usageledgers", "usagestatements"].map(
    (kind) => `supercargo.dev/${kind}: get list watch`,
  ),
  "ClusterRole/supercargo-edit": ["supercargo.dev/agentdeployments: create update patch delete deletecollection"],
  "ClusterRole/supercargo-approve": ["supercargo.dev/approvals: get list watch update patch"],
  "Role/supercargo-operator-apiserver": linesOfPermissions(DEFAULT_NAMESPACE_PERMISSIONS),
  "Role/supercargo-operator-lease": linesOfPermissions(OWN_NAMESPACE_PERMISSIONS),
  "Role/supercargo-reporter-lease": [
    "coordination.k8s.io/leases: create",
    "coordination.k8s.io/leases[supercargo-reporter]: get update",
  ],
};

describe("roles", () => {
  it("grant exactly what docs/security.md explains", async () => {
    const found = Object.fromEntries(
      roles(await render()).map((role) => [`${role.kind}/${role.metadata.name}`, linesOf(role)]),
    );
    const expected = Object.entries(RIGHTS).map(([role, lines]) => [role, lines.toSorted()]);
    expect(found).toEqual(Object.fromEntries(expected));
  });

  it("are Roles in the named namespaces when there are any", async () => {
    const manifests = await render({ profile: "namespace-scoped" });
    expect(linesOf(find(manifests, "ClusterRole", "supercargo-operator"))).toEqual(OPERATOR_CLUSTER.toSorted());
    for (const namespace of ["default", "kube-public"]) {
      const here = manifests.filter((one) => one.metadata.namespace === namespace);
      expect(linesOf(find(here, "Role", "supercargo-operator"))).toEqual(OPERATOR_AGENTS.toSorted());
      expect(find(here, "RoleBinding", "supercargo-operator")).toMatchObject({
        roleRef: { kind: "Role", name: "supercargo-operator" },
        subjects: [{ kind: "ServiceAccount", name: "supercargo-operator", namespace: "supercargo-system" }],
      });
    }
  });

  it("are bound only to accounts of this release", async () => {
    const bindings = (await render()).filter((one) => one.kind.endsWith("RoleBinding"));
    expect(bindings).toHaveLength(5);
    for (const binding of bindings) {
      const component = binding.metadata.name.includes("operator") ? "operator" : "reporter";
      expect(binding).toMatchObject({
        subjects: [{ kind: "ServiceAccount", name: `supercargo-${component}`, namespace: "supercargo-system" }],
      });
    }
  });
});

describe.each(PROFILES)("rights with the values %s", (profile) => {
  it("hold no wildcard", async () => {
    const all = roles(await render({ profile })).flatMap(rulesOf);
    expect(all.length).toBeGreaterThan(15);
    const wild = all.filter((rule) => Object.values(rule).some((list) => list.some((one) => one.includes("*"))));
    expect(wild).toEqual([]);
  });

  it("read or write no Secret, and no right that gives more rights", async () => {
    const all = roles(await render({ profile })).flatMap(rulesOf);
    expect(all.filter((rule) => rule.resources.some((resource) => resource.startsWith("secrets")))).toEqual([]);
    const climbing = all.filter((rule) =>
      rule.verbs.some((verb) => ["escalate", "impersonate", "bind", "approve", "sign"].includes(verb)),
    );
    expect(climbing.map((rule) => rule.resourceNames.length)).toEqual([2]);
  });
});
