import { CONDITIONS } from "#core/api/conditions.ts";
import { type CrdDefinition, toStructuralSchema } from "./crd.ts";

interface Field {
  readonly path: string;
  readonly type: string;
  readonly rule: string;
  readonly description: string;
}

/** A Markdown table of every field below `part`, in the order of the schema. */
export function renderFieldTable(definition: CrdDefinition, part: "spec" | "status"): string {
  const schema = child(child(toStructuralSchema(definition), "properties"), part);
  const rows = fieldsOf(schema, part).map(
    (field) => `| \`${field.path}\` | ${field.type} | ${field.rule} | ${field.description} |`,
  );
  return ["| field | type | allowed, default | what for |", "|---|---|---|---|", ...rows].join("\n");
}

/** A Markdown table of the condition types with their reasons. */
export function renderConditionTable(): string {
  const rows = Object.entries(CONDITIONS).map(
    ([type, condition]) =>
      `| \`${type}\` | ${condition.meaning} | ${condition.polarity} | ${condition.reasons.join(", ")} |`,
  );
  return ["| condition | means | good | reasons |", "|---|---|---|---|", ...rows].join("\n");
}

/** Puts a table between its two markers. A page without the markers is left as it is. */
export function replaceBetween(page: string, part: { readonly marker: string; readonly table: string }): string {
  const open = `<!-- generated:${part.marker} -->`;
  const close = `<!-- /generated:${part.marker} -->`;
  const start = page.indexOf(open);
  const end = page.indexOf(close);
  if (start === -1 || end < start) return page;
  return `${page.slice(0, start + open.length)}\n\n${part.table}\n\n${page.slice(end)}`;
}

type Node = Record<string, unknown>;

function fieldsOf(schema: Node, path: string): Field[] {
  const required = list(schema["required"]);
  return Object.entries(child(schema, "properties")).flatMap(([name, value]) => {
    const field = node(value);
    const fieldPath = `${path}.${name}`;
    const nested = field["type"] === "array" ? node(field["items"]) : field;
    const suffix = field["type"] === "array" ? "[]" : "";
    return [
      { path: `${fieldPath}${suffix}`, ...describe(field, required.includes(name)) },
      ...fieldsOf(nested, `${fieldPath}${suffix}`),
    ];
  });
}

function describe(field: Node, isRequired: boolean): Omit<Field, "path"> {
  const rules = [
    isRequired ? "required" : "",
    ...enumOf(field),
    range(field),
    defaultOf(field["default"]),
    ...celOf(field),
  ].filter((rule) => rule !== "");
  return { type: typeOf(field), rule: cell(rules.join("; ")), description: cell(text(field["description"])) };
}

function typeOf(field: Node): string {
  if (field["type"] === "array") return `list of ${typeOf(node(field["items"]))}`;
  if (field["additionalProperties"] !== undefined) return "map";
  return field["format"] === "date-time" ? "time" : text(field["type"]);
}

function enumOf(field: Node): string[] {
  const values = list(field["enum"]);
  return values.length === 0 ? [] : [values.map((value) => `\`${value}\``).join(", ")];
}

const UNITS: Readonly<Record<string, string>> = { string: " characters", array: " items" };

function range(field: Node): string {
  const from = number(field["minimum"] ?? field["minLength"] ?? field["minItems"]);
  const to = number(field["maximum"] ?? field["maxLength"] ?? field["maxItems"]);
  const unit = UNITS[text(field["type"])] ?? "";
  if (from !== undefined && to !== undefined) return `${from} to ${to}${unit}`;
  if (to !== undefined) return `at most ${to}${unit}`;
  return from === undefined ? "" : `at least ${from}${unit}`;
}

function defaultOf(value: unknown): string {
  return typeof value === "string" || typeof value === "number" ? `default \`${value}\`` : "";
}

function celOf(field: Node): string[] {
  const rules = field["x-kubernetes-validations"];
  return Array.isArray(rules) ? rules.map((rule) => text(node(rule)["message"])) : [];
}

/** A bar would end the cell. */
function cell(value: string): string {
  return value.replaceAll("|", "\\|").replaceAll("\n", " ");
}

function child(parent: Node, name: string): Node {
  return node(parent[name] ?? {});
}

function node(value: unknown): Node {
  return typeof value === "object" && value !== null ? Object.fromEntries(Object.entries(value)) : {};
}

function list(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : [];
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function number(value: unknown): number | undefined {
  return typeof value === "number" ? value : undefined;
}
