import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DEPLOYMENTS, NETWORK_POLICIES, PERSISTENT_VOLUME_CLAIMS, SERVICES } from "#runtime/kube/resources.ts";
import type { KubeObject, ResourceRef } from "#runtime/kube/types.ts";
import { canonicalJson, canonicalQuantity } from "./canonical.ts";
import { diffChildren, isInPlace } from "./diff.ts";
import { APPLIED_HASH, type DesiredObject } from "./desired/names.ts";

const object = (body: Readonly<Record<string, unknown>>, name = "a"): KubeObject => ({
  apiVersion: "v1",
  kind: "Thing",
  metadata: { name, namespace: "n" },
  ...body,
});

describe("isInPlace()", () => {
  it.each<[string, readonly [Record<string, unknown>, Record<string, unknown>], boolean]>([
    ["defaults that the server adds", [{ a: 1 }, { a: 1, b: 2 }], true],
    ["a changed field", [{ a: 1 }, { a: 2 }], false],
    ["a missing field", [{ a: 1 }, {}], false],
    ["an empty list that the server dropped", [{ a: [] }, {}], true],
    ["an empty object that the server dropped", [{ a: {} }, {}], true],
    ["one more list item", [{ a: [1] }, { a: [1, 2] }], false],
    ["defaults inside list items", [{ a: [{ n: 1 }] }, { a: [{ n: 1, d: 2 }] }], true],
    ["one more label that a selector asks for", [{ selector: { x: "1" } }, { selector: { x: "1", y: "2" } }], false],
    [
      "a port range in a policy",
      [{ egress: [{ ports: [{ port: 1 }] }] }, { egress: [{ ports: [{ port: 1, endPort: 9 }] }] }],
      false,
    ],
    [
      "privilege added to a container",
      [{ c: [{ securityContext: { a: 1 } }] }, { c: [{ securityContext: { a: 1, privileged: true } }] }],
      false,
    ],
  ])("judges %s", (_, [desired, live], expected) => {
    expect(isInPlace(object({ spec: desired }), object({ spec: live }))).toBe(expected);
  });

  it("law: an object is in place in itself, and in itself with any field added outside exact parts", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.stringMatching(/^[a-z]{1,6}$/), fc.jsonValue()), (spec) => {
        expect(isInPlace(object({ spec }), object({ spec: structuredClone(spec) }))).toBe(true);
        expect(isInPlace(object({ spec }), object({ spec: { ...spec, addedLater: 1 } }))).toBe(true);
      }),
    );
  });
});

describe("diffChildren()", () => {
  const desired = (ref: ResourceRef, name: string, body: Record<string, unknown> = {}): DesiredObject => ({
    ref,
    object: object(body, name),
  });

  it("applies what is missing in the given order and deletes what is left over", () => {
    const actions = diffChildren(
      [desired(NETWORK_POLICIES, "p"), desired(DEPLOYMENTS, "d")],
      [{ ref: SERVICES, object: object({}, "old") }],
    );
    expect(actions.map((action) => [action.kind, action.desired.ref.kind])).toEqual([
      ["Apply", "NetworkPolicy"],
      ["Apply", "Deployment"],
      ["Delete", "Service"],
    ]);
  });

  it("never deletes a volume claim: it holds what cannot be made again", () => {
    expect(diffChildren([], [{ ref: PERSISTENT_VOLUME_CLAIMS, object: object({}, "journal") }])).toEqual([]);
  });

  it("law: after its applies there is nothing to do", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.constantFrom("a", "b", "c"), fc.jsonValue()), { maxLength: 5 }), (items) => {
        const wanted = [...new Map(items.map(([name, spec]) => [name, desired(SERVICES, name, { spec })])).values()];
        const applied = diffChildren(wanted, []).flatMap((action) =>
          action.kind === "Apply" ? [{ ref: action.desired.ref, object: action.desired.object }] : [],
        );
        expect(diffChildren(wanted, applied)).toEqual([]);
      }),
    );
  });

  it("applies again when we want another thing, even where the server rewrote the field", () => {
    const [first] = diffChildren([desired(SERVICES, "s", { spec: { a: "1000m" } })], []);
    if (first?.kind !== "Apply") throw new Error("expected an apply");
    const hash = first.desired.object.metadata.annotations?.[APPLIED_HASH];
    expect(hash).toMatch(/^[0-9a-f]{64}$/);
    const live = { ref: SERVICES, object: first.desired.object };
    expect(diffChildren([desired(SERVICES, "s", { spec: {} })], [live])).toHaveLength(1);
  });
});

describe("canonicalQuantity()", () => {
  it.each([
    ["1000m", "1"],
    ["1500m", "1500m"],
    ["0.5", "500m"],
    ["0.5Gi", "512Mi"],
    ["1024Mi", "1Gi"],
    ["1Gi", "1Gi"],
    ["1000", "1k"],
    ["128974848", "128974848"],
    ["0", "0"],
    ["1e3", "1e3"],
    ["much", "much"],
  ])("writes %s as %s", (given, expected) => {
    expect(canonicalQuantity(given)).toBe(expected);
  });

  it("law: writing it again changes nothing", () => {
    fc.assert(
      fc.property(fc.nat(1_000_000), fc.constantFrom("", "m", "k", "M", "G", "Ki", "Mi", "Gi"), (amount, unit) => {
        const once = canonicalQuantity(`${amount}${unit}`);
        expect(canonicalQuantity(once)).toBe(once);
      }),
    );
  });
});

describe("canonicalJson()", () => {
  it("law: the order of keys does not matter", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
        const reversed = Object.fromEntries(Object.entries(value).reverse());
        expect(canonicalJson(reversed)).toBe(canonicalJson(value));
      }),
    );
  });
});
