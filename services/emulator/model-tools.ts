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
    "a an and are as at be by can could do does for from get give has have how i in is it me my of on or " +
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
    .map((tool, index) => ({ tool, index, ...scoreTool(tool, words) }))
    .sort((a, b) => b.score - a.score || a.unsaid - b.unsaid || a.index - b.index);
  if (best && (choice.kind === "required" || best.score >= 2)) return best.tool;
  return undefined;
}

/**
 * Words shared with the tool: one of its name weighs more than all of its description; one of the description alone is
 * chance. `unsaid` words of the name break ties: "order" means get_order before refund_order.
 */
function scoreTool(tool: OfferedTool, words: ReadonlySet<string>): { score: number; unsaid: number } {
  const name = toWords(tool.name);
  const described = toWords(tool.description).intersection(words).size;
  const named = name.intersection(words).size;
  return { score: NAME_WEIGHT * named + Math.min(NAME_WEIGHT - 1, described), unsaid: name.size - named };
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

/** A call whose arguments come from the schema: numbers, ids, quoted and capitalised words, addresses of the text. */
export function buildCall(tool: OfferedTool, text: string): ToolCall {
  return {
    name: tool.name,
    arguments: JSON.stringify(buildFromSchema({ type: "object", ...tool.parameters }, text)),
  };
}

/** A value that fits a JSON schema, filled from a text. */
export function buildFromSchema(schema: JsonSchema, text: string): unknown {
  return buildValue(schema, { key: "", findings: findIn(text), optional: false });
}

interface Slot {
  /** The name of the property; ids go to keys that ask for one. */
  readonly key: string;
  readonly findings: Findings;
  /** Not required: nothing when the text offers nothing. */
  readonly optional: boolean;
}

function buildValue(schema: JsonSchema, slot: Slot): unknown {
  if (schema["const"] !== undefined) return schema["const"];
  const options = z.array(z.unknown()).min(1).safeParse(schema["enum"]);
  if (options.success) return chooseOption(options.data, slot);
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
    const first = items.success ? buildValue(items.data, slot) : undefined;
    return first === undefined && slot.optional ? undefined : [first].filter((value) => value !== undefined);
  },
  integer(slot, schema) {
    const number = takeNumber(slot, schema);
    return number === undefined ? undefined : Math.trunc(number);
  },
  number: (slot, schema) => takeNumber(slot, schema),
  boolean: (slot) => (slot.optional ? undefined : true),
  null: (slot) => (slot.optional ? undefined : null),
};

function typeOf(schema: JsonSchema): string {
  const type = schema["type"];
  if (typeof type === "string") return type;
  if (Array.isArray(type)) return String(type.find((name) => name !== "null") ?? "null");
  return schema["properties"] === undefined ? "string" : "object";
}

/** Required properties; of a schema that names none, those for which the text has something. */
function buildObject(schema: JsonSchema, findings: Findings): Record<string, unknown> {
  const properties = z.record(z.string(), jsonObject).catch({}).parse(schema["properties"]);
  const required = z.array(z.string()).safeParse(schema["required"]);
  const keys = required.success ? required.data : Object.keys(properties);
  const entries = keys.map((key) => {
    const slot = { key, findings, optional: !required.success };
    return [key, buildValue(properties[key] ?? {}, slot)];
  });
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}

function chooseOption(options: readonly unknown[], slot: Slot): unknown {
  const lower = slot.findings.text.toLowerCase();
  const named = options.find((option) => typeof option === "string" && lower.includes(option.toLowerCase()));
  return named ?? (slot.optional ? undefined : options[0]);
}

function takeNumber(slot: Slot, schema: JsonSchema): number | undefined {
  const found = takeFrom(slot, slot.findings.numbers);
  if (found !== undefined) return Number(found);
  return slot.optional ? undefined : z.number().catch(1).parse(schema["minimum"]);
}

function takeText(slot: Slot, schema: JsonSchema): string | undefined {
  const { ids, quoted, names, text } = slot.findings;
  const wantsId = /id$|number|code|order|invoice|ticket|sku|ref/i.test(slot.key);
  const fits = toPattern(schema["pattern"]);
  for (const source of wantsId ? [ids, quoted, names] : [quoted, names, ids]) {
    const found = takeFrom(
      slot,
      source.filter((piece) => fits.test(piece)),
    );
    if (found !== undefined) return found;
  }
  return slot.optional ? undefined : text.slice(0, 200);
}

function toPattern(pattern: unknown): RegExp {
  try {
    return new RegExp(typeof pattern === "string" ? pattern : "", "u");
  } catch {
    return /(?:)/;
  }
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
  const quoted = [
    ...text.matchAll(/"([^"]{1,200})"|“([^”]{1,200})”|(?<!\w)'([^']{1,200})'(?!\w)|([\w.+-]{1,64}@[\w.-]{1,200}\w)/g),
  ];
  const rest = quoted.reduce((left, match) => left.replace(match[0], " "), text);
  return {
    text,
    quoted: quoted.map((match) => match[1] ?? match[2] ?? match[3] ?? match[4] ?? ""),
    numbers: [...rest.matchAll(/(?<![\w.-])-?\d+(?:\.\d+)?(?![\w-])/g)].map((match) => match[0]),
    ids: [...rest.matchAll(/(?<=^|[\s#(])[A-Za-z0-9][A-Za-z0-9_-]*(?![\w-]|\.\d)/g)]
      .map((match) => match[0])
      .filter((id) => /\d/.test(id)),
    // Capitalised words that do not begin a sentence: "in New York" gives New York.
    names: [
      ...rest.matchAll(/(?<=[\p{L}\p{N},] )\p{Lu}[\p{L}'-]*\p{L}(?![\p{N}-])(?: \p{Lu}[\p{L}'-]*\p{L}(?![\p{N}-]))*/gu),
    ].map((match) => match[0]),
  };
}
