import { findUsage, member, parseWhole, type TokenUsage } from "./usage.ts";

/** What an answer of JSON says of itself. */
interface AnswerFacts {
  readonly usage: TokenUsage | undefined;
  /** How each choice ended, or the response. */
  readonly finishReasons: readonly string[] | undefined;
}

const REASON = /^[\w.-]{1,32}$/;
const MODEL = /^[\w.:/@-]{1,128}$/;
const CODE = /^[\w.-]{1,64}$/;
const MODEL_KEY = Buffer.from('"model":');
const MODEL_CHARACTERS_MAX = 132;
const REASON_KEY = Buffer.from('"finish_reason":');
const REASON_CHARACTERS_MAX = 36;
/** More than a request may ask for. */
const CHOICES_MAX = 128;

/** Reads the whole of an answer, or its end. The model's name for itself is looked for where somebody wants it. */
export function readAnswer(answer: Buffer, trace: { responseModel: string | undefined } | undefined): AnswerFacts {
  const parsed = parseWhole(answer);
  if (trace !== undefined)
    trace.responseModel = parsed === undefined ? modelIn(answer) : fit(member(parsed, "model"), MODEL);
  return {
    usage: findUsage(answer, parsed),
    finishReasons: parsed === undefined ? lastReasonIn(answer) : reasonsOf(parsed),
  };
}

/** Reasons as they may stand in records: names, and `other` for what is none. Nothing where there are none. */
export function finishReasonsOf(reasons: readonly unknown[]): readonly string[] | undefined {
  return reasons.length === 0 ? undefined : reasons.map((reason) => fit(reason, REASON) ?? "other");
}

/** The first name of a model in bytes that are not parsed: in text of people and models, each quote has a backslash before it. */
export function modelIn(bytes: Buffer): string | undefined {
  for (let at = bytes.indexOf(MODEL_KEY); at >= 0; at = bytes.indexOf(MODEL_KEY, at + 1)) {
    const start = at + MODEL_KEY.length;
    const found = quoted(bytes.toString("latin1", start, start + MODEL_CHARACTERS_MAX), MODEL);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** `error.code` of an upstream's own error, where it is a name. */
export function errorCodeIn(body: Buffer): string | undefined {
  return fit(member(member(parseWhole(body), "error"), "code"), CODE);
}

function reasonsOf(answer: unknown): readonly string[] | undefined {
  const choices = member(answer, "choices");
  if (!Array.isArray(choices)) return member(answer, "object") === "response" ? statusOf(answer) : undefined;
  const reasons: string[] = [];
  for (const choice of choices) {
    const reason = member(choice, "finish_reason") ?? undefined;
    if (reason !== undefined && reasons.length < CHOICES_MAX) reasons.push(fit(reason, REASON) ?? "other");
  }
  return reasons.length === 0 ? undefined : reasons;
}

function statusOf(response: unknown): readonly string[] | undefined {
  const status = member(response, "status");
  return status === undefined ? undefined : finishReasonsOf([status]);
}

/** Of a large answer the reason that stands last. */
function lastReasonIn(answer: Buffer): readonly string[] | undefined {
  const at = answer.lastIndexOf(REASON_KEY);
  if (at < 0) return undefined;
  const start = at + REASON_KEY.length;
  const found = quoted(answer.toString("latin1", start, start + REASON_CHARACTERS_MAX), REASON);
  return found === undefined ? undefined : [found];
}

function quoted(text: string, pattern: RegExp): string | undefined {
  return fit(/^ ?"([^"\\]*)"/.exec(text)?.[1], pattern);
}

function fit(value: unknown, pattern: RegExp): string | undefined {
  return typeof value === "string" && pattern.test(value) ? value : undefined;
}
