import { describe, expect, it } from "vitest";
import { z } from "zod";
import { type CrdDefinition, toCrd, toStructuralSchema } from "./crd.ts";
import { CRD_BYTES_MAX, renderCrdTemplate } from "./crd-template.ts";
import { generatedFiles, staleFiles } from "./generate.ts";
import { RESOURCES } from "./resources.ts";

function define(spec: z.ZodType): CrdDefinition {
  return {
    group: "example.com",
    version: "v1",
    kind: "Thing",
    plural: "things",
    singular: "thing",
    shortNames: [],
    scope: "Namespaced",
    status: "None",
    columns: [],
    description: "A thing.",
    schema: z.object({ spec }),
  };
}

describe("toCrd()", () => {
  it.each([
    ["a union", z.object({ a: z.union([z.string(), z.int()]) }), "spec.a must not use anyOf"],
    [
      "a discriminated union",
      z.object({ a: z.discriminatedUnion("t", [z.object({ t: z.literal("x") })]) }),
      "spec.a must not use oneOf",
    ],
    ["a strict object", z.object({ a: z.strictObject({ b: z.string() }) }), "spec.a must be a plain z.object"],
    ["a float", z.object({ a: z.number() }), "spec.a must be an integer or a decimal string"],
    ["anything", z.object({ a: z.unknown() }), "spec.a must have a type"],
    ["a nullable field", z.object({ a: z.string().nullable() }), "spec.a must not use nullable"],
    ["a list without type", z.object({ a: z.array(z.string()).max(3) }), "list spec.a must have a list type"],
    [
      "a list without end",
      z.object({ a: z.array(z.string()).meta({ "x-kubernetes-list-type": "set" }) }),
      "list spec.a must have a list type and a maximum",
    ],
  ])("refuses %s and names the field", (_, spec, message) => {
    expect(() => toCrd(define(spec))).toThrow(message);
  });

  it("keeps CEL rules and list types, drops the pattern of times, gives integers a format", () => {
    const spec = z.object({
      at: z.iso.datetime(),
      n: z.int32().min(1),
      names: z.array(z.string()).max(3).meta({ "x-kubernetes-list-type": "set" }),
    });
    expect(toStructuralSchema(define(spec))["properties"]).toMatchObject({
      spec: {
        properties: {
          at: { type: "string", format: "date-time" },
          n: { type: "integer", format: "int32", minimum: 1 },
          names: { "x-kubernetes-list-type": "set", maxItems: 3 },
        },
      },
    });
  });

  it("writes out the defaults inside a default object, which CEL sees as it stands", () => {
    const spec = z.object({ auth: z.object({ type: z.enum(["A", "B"]).default("A") }).prefault({}) });
    expect(toStructuralSchema(define(spec))["properties"]).toMatchObject({
      spec: { properties: { auth: { default: { type: "A" } } } },
    });
  });
});

describe("every resource", () => {
  it.each(RESOURCES)("$kind holds the rules of the Kubernetes API conventions", (definition) => {
    expect(lint(toStructuralSchema(definition), "")).toEqual([]);
  });

  it.each(RESOURCES)("$kind stays under the size limit", (definition) => {
    expect(Buffer.byteLength(renderCrdTemplate(definition))).toBeLessThan(CRD_BYTES_MAX);
  });

  it("is generated as it stands in the tree", () => {
    expect(staleFiles(generatedFiles())).toEqual([]);
  });
});

describe("lint", () => {
  it("finds a bool, a float, a phase and a required status field", () => {
    expect(lint({ type: "object", properties: { a: { type: "boolean" } } }, "")).toEqual([".a is a bool: use an enum"]);
    expect(lint({ type: "object", properties: { a: { type: "number" } } }, "")).toEqual([".a is a float"]);
    expect(lint({ type: "object", properties: { phase: { type: "string" } } }, ".status.x")).toEqual([
      ".status.x.phase: use conditions",
    ]);
  });
});

/** The rules nobools, nofloats and nophase of kube-api-linter. */
function lint(node: unknown, path: string): string[] {
  if (typeof node !== "object" || node === null) return [];
  const fields: Record<string, unknown> = Object.fromEntries(Object.entries(node));
  const own = [
    ...(fields["type"] === "boolean" ? [`${path} is a bool: use an enum`] : []),
    ...(fields["type"] === "number" ? [`${path} is a float`] : []),
    ...(/^\.status\..*phase$/.test(path) ? [`${path}: use conditions`] : []),
  ];
  const properties = Object.entries(fields["properties"] ?? {});
  return [
    ...own,
    ...properties.flatMap(([name, child]) => lint(child, `${path}.${name}`)),
    ...lint(fields["items"], `${path}[]`),
    ...lint(fields["additionalProperties"], `${path}{}`),
  ];
}
