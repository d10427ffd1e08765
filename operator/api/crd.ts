import { z } from "zod";

/** A printer column of `kubectl get`. */
export interface PrinterColumn {
  readonly name: string;
  readonly type: "string" | "integer" | "date";
  readonly jsonPath: string;
  readonly description?: string;
  /** 1 shows with `-o wide` only. */
  readonly priority?: 0 | 1;
}

/** What a CRD says besides its schema. */
export interface CrdDefinition {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly scope: "Namespaced" | "Cluster";
  readonly status: "Subresource" | "None";
  readonly columns: readonly PrinterColumn[];
  readonly description: string;
  /** The whole object: apiVersion, kind, metadata, spec and, with a subresource, status. */
  readonly schema: z.ZodType;
  /** A cap on metadata.name; children add suffixes. */
  readonly nameMax?: number;
  /** Stands where nothing has been reported yet. */
  readonly statusDefault?: Readonly<Record<string, unknown>>;
}

type Node = Record<string, unknown>;

/** What a structural schema cannot say; zod writes it without a word. */
const REFUSED = [
  "anyOf",
  "oneOf",
  "allOf",
  "not",
  "$ref",
  "definitions",
  "propertyNames",
  "const",
  "nullable",
] as const;

const INT32 = { minimum: -2_147_483_648, maximum: 2_147_483_647 };

/** The CRD of one resource. Throws on a schema that the API server would refuse or silently cut. */
export function toCrd(definition: CrdDefinition): Node {
  const { group, version, kind, plural, singular, shortNames } = definition;
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: definition.scope,
      names: { kind, listKind: `${kind}List`, plural, singular, shortNames, categories: ["supercargo"] },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          schema: { openAPIV3Schema: toStructuralSchema(definition) },
          ...(definition.status === "Subresource" ? { subresources: { status: {} } } : {}),
          additionalPrinterColumns: definition.columns,
        },
      ],
    },
  };
}

/** The structural schema of the whole object. */
export function toStructuralSchema(definition: CrdDefinition): Node {
  const json = z.toJSONSchema(definition.schema, { target: "openapi-3.0", io: "input" });
  const properties = toNode(toNode(json, definition.kind)["properties"], definition.kind);
  const spec = rewrite(toNode(properties["spec"], "spec"), "spec");
  const status =
    properties["status"] === undefined ? undefined : rewrite(toNode(properties["status"], "status"), "status");
  return {
    type: "object",
    description: definition.description,
    required: ["spec"],
    properties: {
      apiVersion: { type: "string" },
      kind: { type: "string" },
      metadata: {
        type: "object",
        ...(definition.nameMax === undefined
          ? {}
          : { properties: { name: { type: "string", maxLength: definition.nameMax } } }),
      },
      spec,
      ...(status === undefined
        ? {}
        : {
            status: {
              ...toNode(status, "status"),
              ...(definition.statusDefault ? { default: definition.statusDefault } : {}),
            },
          }),
    },
  };
}

/** One schema and all below it, as Kubernetes wants them. `path` is for the message. */
function rewrite(node: Node, path: string): Node {
  for (const keyword of REFUSED)
    if (keyword in node)
      throw new Error(`Cannot make a CRD as ${path} must not use ${keyword}: use a type and optional blocks with CEL`);
  if (node["type"] === undefined) throw new Error(`Cannot make a CRD as ${path} must have a type: current value is {}`);
  const { $schema: _, ...rest } = node;
  if (node["type"] === "object") return rewriteObject(rest, path);
  if (node["type"] === "array") return rewriteArray(rest, path);
  if (node["type"] === "integer") return rewriteInteger(rest);
  if (node["type"] === "number")
    throw new Error(`Cannot make a CRD as ${path} must be an integer or a decimal string: current type is number`);
  return rewriteString(rest);
}

function rewriteObject(node: Node, path: string): Node {
  const { properties, additionalProperties, ...rest } = node;
  if (additionalProperties === false)
    throw new Error(`Cannot make a CRD as ${path} must be a plain z.object: additionalProperties false is refused`);
  if (properties === undefined)
    return { ...rest, additionalProperties: rewrite(toNode(additionalProperties, path), `${path}{}`) };
  const fields = Object.entries(toNode(properties, path)).map(([name, child]) => [
    name,
    rewrite(toNode(child, `${path}.${name}`), `${path}.${name}`),
  ]);
  return { ...rest, ...wholeDefault(rest, Object.fromEntries(fields)), properties: Object.fromEntries(fields) };
}

/** The API server judges a default object by CEL before it fills in the defaults inside: write them out. */
function wholeDefault(node: Node, properties: Node): Node {
  if (typeof node["default"] !== "object" || node["default"] === null) return {};
  const inner = Object.entries(properties).flatMap(([name, property]) => {
    const value = toNode(property, name)["default"];
    return value === undefined ? [] : [[name, value]];
  });
  return { default: { ...Object.fromEntries(inner), ...node["default"] } };
}

function rewriteArray(node: Node, path: string): Node {
  if (node["x-kubernetes-list-type"] === undefined || node["maxItems"] === undefined)
    throw new Error(`Cannot make a CRD as the list ${path} must have a list type and a maximum`);
  return { ...node, items: rewrite(toNode(node["items"], path), `${path}[]`) };
}

/** Bounds that only repeat the type are noise; the format says it. */
function rewriteInteger(node: Node): Node {
  const { minimum, maximum, ...rest } = node;
  const is32 = Number(maximum ?? Infinity) <= INT32.maximum && Number(minimum ?? -Infinity) >= INT32.minimum;
  const isDefaultBound = (value: unknown): boolean =>
    value === INT32.minimum || value === INT32.maximum || Math.abs(Number(value)) === Number.MAX_SAFE_INTEGER;
  return {
    ...rest,
    format: is32 ? "int32" : "int64",
    ...(minimum === undefined || isDefaultBound(minimum) ? {} : { minimum }),
    ...(maximum === undefined || isDefaultBound(maximum) ? {} : { maximum }),
  };
}

/** Formats of zod come with long patterns; the API server checks `date-time` itself. */
function rewriteString(node: Node): Node {
  if (node["format"] !== "date-time") return node;
  const { pattern: _, ...rest } = node;
  return rest;
}

function toNode(value: unknown, path: string): Node {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new Error(`Cannot make a CRD as ${path} must be a schema: current value is ${JSON.stringify(value)}`);
  return Object.fromEntries(Object.entries(value));
}
