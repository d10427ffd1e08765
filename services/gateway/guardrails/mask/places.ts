import { CLOSE_BRACE, CLOSE_BRACKET, COLON, COMMA, OPEN_BRACE, OPEN_BRACKET, QUOTE } from "../../wire/json-bytes.ts";
import type { ModelOperation } from "../../wire/openai.ts";
import {
  CLIENT_DOCUMENTS,
  CLIENT_PROMPTS,
  endOfString,
  type ItemHead,
  kindOf,
  NO_TEXT,
  type TextsSource,
} from "../request-texts.ts";

/** A text that a request brings to a model: what stands between two quotes, as it was sent. UTF-16 units of the body. */
export interface Place {
  readonly start: number;
  readonly end: number;
  /** Whether something else may stand there: a name or a key of a schema would no longer be the one that is meant. */
  readonly mayChange: boolean;
}

/** Finds the places whose texts `requestTexts()` reads, in their order, some at a time. */
export interface PlaceReader {
  /** Goes on over some `unitsMax` units of the body. Nothing when the body is done. */
  next(unitsMax: number): readonly Place[] | undefined;
}

/** What the place of a value says about it. */
type Zone = "other" | "conversation" | "item" | "text" | "document" | "tools";

interface Frame {
  readonly zone: Zone;
  readonly isObject: boolean;
  /** The member whose value comes. */
  name: string | undefined;
  isKeyNext: boolean;
  /** Set where this is an item of a conversation itself. */
  readonly item: Item | undefined;
}

/** One message or other item: whose words it is stands anywhere in it. */
interface Item {
  role: unknown;
  type: unknown;
  readonly places: Place[];
}

export interface PlaceOptions {
  readonly operation: ModelOperation;
  readonly source: TextsSource;
}

/** Reads a body that is JSON; of one that is not, it finds some of the places. */
export function createPlaceReader(text: string, options: PlaceOptions): PlaceReader {
  const stack: Frame[] = [];
  let item: Item | undefined;
  let found: Place[] = [];
  let at = 0;
  const endItem = (isText: boolean): void => {
    if (item !== undefined && isRead({ role: item.role, type: item.type, isText }, options.source))
      for (const place of item.places) found.push(place);
    item = undefined;
  };
  const addText = (frame: Frame | undefined, place: Place, zone: Zone): void => {
    if (zone === "other") return;
    if (zone === "item") (item ??= newItem()).places.push(place);
    else found.push(place);
    if (frame?.zone === "conversation" || stack.length === 1) endItem(true);
  };
  const readString = (): void => {
    const end = endOfString(text, at + 1);
    const frame = stack.at(-1);
    const place = { start: at + 1, end, mayChange: false };
    at = end;
    if (frame?.isKeyNext === true) {
      frame.name = nameOf(text, place);
      if (frame.zone === "tools") found.push(place);
      return;
    }
    const zone = zoneOf(frame, { options, isArray: false, depth: stack.length });
    if (frame?.item !== undefined) noteHead(frame.item, frame.name, nameOf(text, place));
    addText(frame, { ...place, mayChange: mayChange(zone, frame?.name) }, zone);
  };
  const open = (isObject: boolean): void => {
    const frame = stack.at(-1);
    const zone = zoneOf(frame, { options, isArray: !isObject, depth: stack.length });
    const isItem = zone === "item" && item === undefined;
    if (isItem) item = newItem();
    stack.push({ zone, isObject, name: undefined, isKeyNext: isObject, item: isItem ? item : undefined });
  };
  const close = (): void => {
    if (stack.pop()?.item !== undefined) endItem(false);
  };
  const step = (unit: number): void => {
    const frame = stack.at(-1);
    if (unit === QUOTE) readString();
    else if (unit === OPEN_BRACE || unit === OPEN_BRACKET) open(unit === OPEN_BRACE);
    else if (unit === CLOSE_BRACE || unit === CLOSE_BRACKET) close();
    else if (frame !== undefined && (unit === COMMA || unit === COLON))
      frame.isKeyNext = unit === COMMA && frame.isObject;
  };
  return {
    next(unitsMax) {
      if (at >= text.length) return undefined;
      found = [];
      for (const stop = at + unitsMax; at < text.length && at < stop; at += 1) step(text.charCodeAt(at));
      return found;
    },
  };
}

function newItem(): Item {
  return { role: undefined, type: undefined, places: [] };
}

function noteHead(item: Item, name: string | undefined, value: string): void {
  if (name === "role" || name === "type") item[name] = value;
}

function isRead(head: ItemHead, source: TextsSource): boolean {
  return kindOf(head, source) !== "none";
}

/** The zone of a value that stands in a frame. */
function zoneOf(
  frame: Frame | undefined,
  value: { readonly options: PlaceOptions; readonly isArray: boolean; readonly depth: number },
): Zone {
  if (frame === undefined) return "other";
  if (value.depth === 1) return frame.isObject ? topZone(frame.name ?? "", value) : "other";
  if (frame.zone === "conversation") return "item";
  if (frame.zone === "other" || frame.zone === "tools") return frame.zone;
  return frame.name !== undefined && NO_TEXT.has(frame.name) ? "other" : frame.zone;
}

function topZone(
  name: string,
  { options, isArray }: { readonly options: PlaceOptions; readonly isArray: boolean },
): Zone {
  const { operation, source } = options;
  if (name === (operation === "chat" ? "messages" : "input"))
    return isArray && operation !== "embeddings" ? "conversation" : "item";
  if (name === "tools") return "tools";
  if (source !== "client") return "other";
  if (CLIENT_PROMPTS.includes(name)) return "text";
  return CLIENT_DOCUMENTS.includes(name) ? "document" : "other";
}

/** What people write for a model in a schema; all else of it are names. */
const SCHEMA_TEXTS: ReadonlySet<string | undefined> = new Set(["description", "title"]);

function mayChange(zone: Zone, name: string | undefined): boolean {
  return zone === "tools" || zone === "document" ? SCHEMA_TEXTS.has(name) : name !== "name";
}

/** Of a name only what is short means something. */
const NAME_MAX = 128;

function nameOf(text: string, { start, end }: Place): string {
  const raw = text.slice(start, Math.min(end, start + NAME_MAX));
  if (!raw.includes("\\")) return raw;
  try {
    const name: unknown = JSON.parse(`"${raw}"`);
    return typeof name === "string" ? name : raw;
  } catch {
    return raw;
  }
}
