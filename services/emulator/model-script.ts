import { z } from "zod";
import { FILTER_FAILURES, type FilterFailure } from "./model-filter.ts";
import { countTokens, type Prompt, type Turn } from "./model-prompt.ts";
import { buildCall, buildFromSchema, chooseTool, type ToolCall } from "./model-tools.ts";

/** What the model does with a request. */
export interface Answer {
  readonly text: string;
  readonly calls: readonly ToolCall[];
  readonly finish: "stop" | "length" | "tool_calls" | "content_filter";
  /** Hidden tokens, part of the output tokens. */
  readonly reasoningTokens: number;
  /** Part of the input tokens. */
  readonly cachedTokens: number;
  /** Tokens per streamed chunk. */
  readonly chunkTokens: number;
  /** Wait before each chunk. */
  readonly delayMs: number;
  /** The connection dies after so many chunks (without a stream: before the answer). */
  readonly dieAfterChunks?: number;
  /** Azure's filter was down, the content passed unfiltered, and the answer says so here. */
  readonly filterFailure?: FilterFailure;
  /** Answered in place of everything else. */
  readonly refusal?: { readonly status: number; readonly retryAfter?: string; readonly filtered: boolean };
}

/** `[[word rest]]` in the last user message. */
export interface Directive {
  readonly word: string;
  readonly rest: string;
}

const PLAIN: Answer = {
  text: "",
  calls: [],
  finish: "stop",
  reasoningTokens: 0,
  cachedTokens: 0,
  chunkTokens: 1,
  delayMs: 0,
};
const QUOTE_MAX = 4000;
const TOKENS_MAX = 200_000;

/** Decides the answer from the request alone (and `script`, a text of the control API): same request, same answer. */
export function decideAnswer(prompt: Prompt, script: string | undefined): Answer {
  const lastUser = prompt.turns.findLastIndex((turn) => turn.role === "user");
  const userText = prompt.turns[lastUser]?.text ?? "";
  const results = prompt.turns.slice(lastUser + 1).filter((turn) => turn.role === "tool");
  const steps = toSteps(readDirectives(script ?? userText));
  const step = script === undefined ? dueStep(steps, results.length) : steps[0];
  const answer = step ? answerStep(step, prompt) : answerFreely(prompt, { userText, results });
  return cutToLimit(answer, prompt.outputTokensMax);
}

/** Output tokens: text, names and arguments of calls, and reasoning. */
export function countOutputTokens(answer: Answer): number {
  const calls = answer.calls.map((call) => call.name + call.arguments).join("");
  return countTokens(Buffer.byteLength(answer.text + calls)) + answer.reasoningTokens;
}

/** Directives in order. One ends at the first `]]` outside its own brackets and strings, so that it can hold JSON. */
export function readDirectives(text: string): Directive[] {
  const directives: Directive[] = [];
  for (let start = text.indexOf("[["); start !== -1; start = text.indexOf("[[", start + 2)) {
    const end = findEnd(text, start + 2);
    if (end === -1) continue;
    const [, word = "", rest = ""] = /^\s*([a-z_]+)\s*([\s\S]*?)\s*$/.exec(text.slice(start + 2, end)) ?? [];
    if (word !== "") directives.push({ word, rest });
    start = end;
  }
  return directives;
}

/** Where the directive that begins before `from` ends, or -1. Only inside JSON do quotes hide brackets. */
function findEnd(text: string, from: number): number {
  const mark = /"(?:\\[\s\S]|[^"\\])*"|\]\]|[{}[\]]/g;
  mark.lastIndex = from;
  let depth = 0;
  for (let found = mark.exec(text); found; found = mark.exec(text)) {
    const [token] = found;
    if (token === "]]" && depth === 0) return found.index;
    // Of a quote outside JSON, and of a pair of brackets inside, only the first character is used up.
    if (depth === 0 || token === "]]") mark.lastIndex = found.index + 1;
    depth += DEPTHS[token] ?? 0;
  }
  return -1;
}

const DEPTHS: Readonly<Record<string, number>> = { "{": 1, "[": 1, "}": -1, "]": -1, "]]": -1 };

/** `[[next]]` divides the answers to the rounds of one user message. */
function toSteps(directives: readonly Directive[]): Directive[][] {
  if (directives.length === 0) return [];
  const steps: Directive[][] = [[]];
  for (const directive of directives) {
    if (directive.word === "next") steps.push([]);
    else steps.at(-1)?.push(directive);
  }
  return steps;
}

/** The step whose turn it is: each call of the steps before has brought one tool result. */
function dueStep(steps: readonly Directive[][], results: number): readonly Directive[] | undefined {
  let needed = 0;
  for (const step of steps) {
    if (results === needed) return step;
    needed += step.filter((directive) => directive.word === "call").length;
  }
  return undefined;
}

type Draft = { -readonly [K in keyof Answer]: Answer[K] };

function answerStep(step: readonly Directive[], prompt: Prompt): Answer {
  const draft: Draft = { ...PLAIN };
  for (const directive of step) DIRECTIVES[directive.word]?.(draft, directive.rest);
  if (draft.calls.length > 0 && draft.finish === "stop") draft.finish = "tool_calls";
  const silent = draft.text === "" && draft.calls.length === 0;
  return silent ? { ...draft, text: defaultText(prompt, step) } : draft;
}

/** A step that only sets pace or faults still says something. */
function defaultText(prompt: Prompt, step: readonly Directive[]): string {
  return `Scripted answer of ${prompt.deployment}: ${step.map((directive) => directive.word).join(", ")}.`;
}

/** What each word does; unknown words do nothing. */
const DIRECTIVES: Readonly<Record<string, (draft: Draft, rest: string) => void>> = {
  call(draft, rest) {
    const [, name = "", json = ""] = /^(\S+)\s*([\s\S]*)$/.exec(rest) ?? [];
    if (name !== "") draft.calls = [...draft.calls, { name, arguments: json === "" ? "{}" : json }];
  },
  say(draft, rest) {
    draft.text = draft.text === "" ? rest : `${draft.text} ${rest}`;
  },
  tokens(draft, rest) {
    draft.text = "tok ".repeat(toCount(rest, TOKENS_MAX));
  },
  delay(draft, rest) {
    draft.delayMs = toCount(rest, 60_000);
  },
  chunk(draft, rest) {
    draft.chunkTokens = Math.max(1, toCount(rest, 1000));
  },
  cached(draft, rest) {
    draft.cachedTokens = toCount(rest, 1_000_000);
  },
  reasoning(draft, rest) {
    draft.reasoningTokens = toCount(rest, 1_000_000);
  },
  die(draft, rest) {
    draft.dieAfterChunks = toCount(rest.replace(/^after\s+/, ""), 1_000_000);
  },
  error(draft, rest) {
    const status = z.coerce.number().int().min(400).max(599).catch(500).parse(rest.split(" ")[0]);
    const retryAfter = /retry-after\s+(\S+)/.exec(rest)?.[1];
    draft.refusal = { status, filtered: false, ...(retryAfter === undefined ? {} : { retryAfter }) };
  },
  content_filter(draft, rest) {
    const failure = FILTER_FAILURES[rest];
    if (rest === "answer") draft.finish = "content_filter";
    else if (failure !== undefined) draft.filterFailure = failure;
    else draft.refusal = { status: 400, filtered: true };
  },
};

function toCount(text: string, max: number): number {
  return z.coerce.number().int().min(0).max(max).catch(0).parse(text);
}

interface Question {
  readonly userText: string;
  readonly results: readonly Turn[];
}

/** Without a script: call the tool that fits, else answer; after results, quote them. */
function answerFreely(prompt: Prompt, { userText, results }: Question): Answer {
  if (results.length > 0 && prompt.jsonSchema === undefined) {
    const quoted = results.map((result) => result.text.slice(0, QUOTE_MAX)).join("\n");
    return { ...PLAIN, text: `Here is what I found: ${quoted}` };
  }
  const tool = results.length === 0 ? chooseTool(prompt, userText) : undefined;
  if (tool) return { ...PLAIN, calls: [buildCall(tool, userText)], finish: "tool_calls" };
  if (prompt.jsonSchema) return { ...PLAIN, text: JSON.stringify(buildFromSchema(prompt.jsonSchema, userText)) };
  return { ...PLAIN, text: `This is an emulated answer. You said: ${userText.slice(0, QUOTE_MAX)}` };
}

/** Cuts text (never calls) at the limit, reasoning first; the finish reason tells. */
function cutToLimit(answer: Answer, limit: number | undefined): Answer {
  if (limit === undefined || answer.refusal || answer.calls.length > 0 || countOutputTokens(answer) <= limit)
    return answer;
  const reasoningTokens = Math.min(answer.reasoningTokens, limit);
  const bytes = Buffer.from(answer.text).subarray(0, (limit - reasoningTokens) * 4);
  // A character cut in two would decode to U+FFFD, which is longer: drop the begun one.
  const text = new TextDecoder().decode(bytes, { stream: true });
  return { ...answer, reasoningTokens, text, finish: "length" };
}
