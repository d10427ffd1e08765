import { z } from "zod";
import { jsonObject, type JsonSchema, type OfferedTool, type Prompt } from "./model-prompt.ts";

/** A tool call the model makes. */
export interface ToolCall {
  readonly name: string;
  /** JSON text. */
  readonly arguments: string;
}

const NAME_WEIGHT = 10;
/** Only the beginning of a text is searched; prompts can be megabytes. */
const SEARCHED_MAX = 20_000;
const STOP_WORDS = new Set(
  (
    "a an and are as at be by can could do does for from get give has have how i in is it list me my of on or " +
    "please set tell that the this to use was what when where which who will with would you your"
  ).split(" "),
);

/** The offered tool that fits the text, as the request's tool choice allows; nothing when the model should just talk. */
export function chooseTool(prompt: Prompt, text: string): OfferedTool | undefined {
  const { choice, tools } = prompt;
  if (choice.kind === "none") return undefined;
  if (choice.kind === "tool") return tools.find((tool) => tool.name === choice.name);
  const words = toWords(text.slice(0, SEARCHED_MAX));
  const [best] = tools
    .map((tool, index) => ({ tool, index, score: scoreTool(tool, words) }))
    .sort((a, b) => b.score - a.score || a.index - b.index);
  if (best && (choice.kind === "required" || best.score >= 2)) return best.tool;
  return undefined;
}

/** Words shared with the tool: one of its name weighs more than all of its description; one of the description is chance. */
function scoreTool(tool: OfferedTool, words: ReadonlySet<string>): number {
  const shared = (text: string): number => [...toWords(text)].filter((word) => words.has(word)).length;
  return NAME_WEIGHT * shared(tool.name) + Math.min(NAME_WEIGHT - 1, shared(tool.description));
}

function toWords(text: string): ReadonlySet<string> {
  const words = text
    .replace(/([a-z0-9])([A-Z])/g, "$1 $2")
    .toLowerCase()
    .split(/[^\p{L}\p{N}]+/u)
    .filter((word) => word.length > 1 && !STOP_WORDS.has(word))
    .map((word) => (word.length > 3 ? word.replace(/s$/, "") : word));
  return new Set(words);
}

/** What in a text can fill an argument; each piece is used once. */
interface Findings {
  readonly text: string;
  readonly quoted: string[];
  readonly numbers: string[];
  readonly ids: string[];
  readonly names: string[];
}

/** A call whose arguments come from the schema: numbers, ids, quoted and capitalised words of the text, in order. */
export function buildCall(tool: OfferedTool, text: string): ToolCall {
  return {
    name: tool.name,
    arguments: JSON.stringify(buildValue(tool.parameters, { key: "", findings: findIn(text) })),
  };
}

/** A value that fits a JSON schema, filled from a text. */
export function buildFromSchema(schema: JsonSchema, text: string): unknown {
  return buildValue(schema, { key: "", findings: findIn(text) });
}

interface Slot {
  /** The name of the property; ids go to keys that ask for one. */
  readonly key: string;
  readonly findings: Findings;
}

function buildValue(schema: JsonSchema, slot: Slot): unknown {
  if (schema["const"] !== undefined) return schema["const"];
  const options = z.array(z.unknown()).min(1).safeParse(schema["enum"]);
  if (options.success) return chooseOption(options.data, slot.findings.text);
  const [variant] = z
    .array(jsonObject)
    .catch([])
    .parse(schema["anyOf"] ?? schema["oneOf"]);
  if (variant) return buildValue(variant, slot);
  return (BUILDERS[typeOf(schema)] ?? takeText)(slot, schema);
}

const BUILDERS: Readonly<Record<string, (slot: Slot, schema: JsonSchema) => unknown>> = {
  object: (slot, schema) => buildObject(schema, slot.findings),
  array(slot, schema) {
    const items = jsonObject.safeParse(schema["items"]);
    return items.success ? [buildValue(items.data, slot)] : [];
  },
  integer: (slot, schema) => Math.trunc(takeNumber(slot, schema)),
  number: (slot, schema) => takeNumber(slot, schema),
  boolean: () => true,
  null: () => null,
};

function typeOf(schema: JsonSchema): string {
  const type = schema["type"];
  if (typeof type === "string") return type;
  if (Array.isArray(type)) return String(type.find((name) => name !== "null") ?? "null");
  return schema["properties"] === undefined ? "string" : "object";
}

/** Required properties; when none is named, all of them. */
function buildObject(schema: JsonSchema, findings: Findings): Record<string, unknown> {
  const properties = z.record(z.string(), jsonObject).catch({}).parse(schema["properties"]);
  const required = z.array(z.string()).safeParse(schema["required"]);
  const keys = required.success
    ? required.data.filter((key) => properties[key] !== undefined)
    : Object.keys(properties);
  return Object.fromEntries(keys.map((key) => [key, buildValue(properties[key] ?? {}, { key, findings })]));
}

function chooseOption(options: readonly unknown[], text: string): unknown {
  const lower = text.toLowerCase();
  return options.find((option) => typeof option === "string" && lower.includes(option.toLowerCase())) ?? options[0];
}

function takeNumber(slot: Slot, schema: JsonSchema): number {
  const found = takeFrom(slot, slot.findings.numbers);
  return found === undefined ? z.number().catch(1).parse(schema["minimum"]) : Number(found);
}

function takeText(slot: Slot): string {
  const { ids, quoted, names, text } = slot.findings;
  const wantsId = /id$|number|code|order|invoice|ticket|sku|ref/i.test(slot.key);
  for (const source of wantsId ? [ids, quoted, names] : [quoted, names, ids]) {
    const found = takeFrom(slot, source);
    if (found !== undefined) return found;
  }
  return text.slice(0, 200);
}

/** The piece that stands behind a word of the key ("order 1042" for `order_id`), else the first; it is used up everywhere. */
function takeFrom({ key, findings }: Slot, source: readonly string[]): string | undefined {
  const words = [...toWords(key)].join("|");
  const named =
    words === ""
      ? null
      : new RegExp(`(?:${words})s?\\W+(?:(?:number|no|id)\\W+)?([\\w.-]*\\w)`, "iu").exec(findings.text);
  const taken = source.find((piece) => piece === named?.[1]) ?? source[0];
  for (const pieces of [findings.quoted, findings.numbers, findings.ids, findings.names]) {
    const place = taken === undefined ? -1 : pieces.indexOf(taken);
    if (place >= 0) pieces.splice(place, 1);
  }
  return taken;
}

function findIn(whole: string): Findings {
  const text = whole.slice(0, SEARCHED_MAX);
  const quoted = [...text.matchAll(/"([^"]{1,200})"|“([^”]{1,200})”|(?<!\w)'([^']{1,200})'(?!\w)/g)];
  const rest = quoted.reduce((left, match) => left.replace(match[0], " "), text);
  return {
    text,
    quoted: quoted.map((match) => match[1] ?? match[2] ?? match[3] ?? ""),
    numbers: [...rest.matchAll(/(?<![\w.-])-?\d+(?:\.\d+)?(?![\w-])/g)].map((match) => match[0]),
    ids: [...rest.matchAll(/(?<=^|[\s#(])[A-Za-z0-9][A-Za-z0-9_-]*(?![\w-]|\.\d)/g)]
      .map((match) => match[0])
      .filter((id) => /\d/.test(id)),
    // Capitalised words that do not begin a sentence: "in New York" gives New York.
    names: [...rest.matchAll(/(?<=[\p{L}\p{N},] )\p{Lu}[\p{L}'-]+(?: \p{Lu}[\p{L}'-]+)*/gu)].map((match) => match[0]),
  };
}
