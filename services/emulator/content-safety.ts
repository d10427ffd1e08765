import { Router } from "@koa/router";
import type { Context } from "koa";
import { z } from "zod";
import {
  blocklistMatches,
  CATEGORIES,
  isAttack,
  severityOf,
  type Category,
  type ContentRules,
} from "./content-safety-rules.ts";
import { bearerToken, readJson, toMiddleware } from "./endpoint.ts";
import type { Fault, StruckFaults } from "./faults.ts";
import type { World } from "./world.ts";

export interface ContentSafetySettings {
  /** Keys that are accepted as `Ocp-Apim-Subscription-Key`; any non-empty one when the list is empty. */
  readonly keys: readonly string[];
}

/** The audience of Entra tokens for Azure AI services: the scope without `/.default`. */
export const COGNITIVE_AUDIENCE = "https://cognitiveservices.azure.com";
const API_VERSION = "2024-09-01";
const CHARACTERS_MAX = 10_000;
const DOCUMENTS_MAX = 5;
const BODY_BYTES_MAX = 1024 * 1024;

const shieldSchema = z.looseObject({
  userPrompt: z.string().nullish(),
  documents: z.array(z.string()).max(DOCUMENTS_MAX, `must hold at most ${DOCUMENTS_MAX} documents`).nullish(),
});

const analyzeSchema = z.looseObject({
  text: z.string().min(1, "must not be empty"),
  categories: z.array(z.enum(CATEGORIES)).nullish(),
  blocklistNames: z.array(z.string()).max(10).nullish(),
  haltOnBlocklistHit: z.boolean().nullish(),
  outputType: z.enum(["FourSeverityLevels", "EightSeverityLevels"]).nullish(),
});

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

type Answering = (world: World, body: unknown, faults: StruckFaults) => Answer;

/** Azure AI Content Safety as far as guardrails ask it: Prompt Shields and Analyze text. Bodies and rules: docs/emulator.md. */
export function createContentSafetyRouter(world: World, settings: ContentSafetySettings): Router {
  const router = new Router({ prefix: "/contentsafety" });
  const at = (route: string, answering: Answering) =>
    toMiddleware(world, {
      standIn: "contentSafety",
      route,
      faultBody,
      async answer(context, faults) {
        context.set("apim-request-id", world.newId());
        const answer = await answerCall(world, context, { settings, answering, faults });
        context.status = answer.status;
        context.body = answer.body;
      },
    });
  // A colon begins a parameter, unless it is escaped.
  router.post("/text\\:shieldPrompt", at("shieldPrompt", shieldPrompt));
  router.post("/text\\:analyze", at("analyze", analyzeText));
  return router;
}

/** Credential first, then the version of the API, then the body. */
async function answerCall(
  world: World,
  context: Context,
  call: { readonly settings: ContentSafetySettings; readonly answering: Answering; readonly faults: StruckFaults },
): Promise<Answer> {
  const problem = await credentialProblem(world, context, call.settings);
  if (problem !== undefined) return refuse(401, { code: "401", message: problem });
  if (context.query["api-version"] !== API_VERSION) return refuse(404, { code: "404", message: "Resource not found" });
  const body = await readJson(context, BODY_BYTES_MAX);
  if (!body.ok) return invalid(world, `Deserialize failed: ${body.message}`);
  return call.answering(world, body.value, call.faults);
}

async function credentialProblem(
  world: World,
  context: Context,
  { keys }: ContentSafetySettings,
): Promise<string | undefined> {
  const token = bearerToken(context);
  if (token !== undefined) {
    const checked = await world.keys.verify(token, { audience: COGNITIVE_AUDIENCE, nowMs: world.clock.now() });
    if (!checked.ok) context.set("x-emulator-reason", checked.reason);
    return checked.ok
      ? undefined
      : `Access token is missing, invalid, audience is incorrect (${COGNITIVE_AUDIENCE}), or have expired.`;
  }
  const key = context.get("ocp-apim-subscription-key");
  if (key !== "" && (keys.length === 0 || keys.includes(key))) return undefined;
  return "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource.";
}

function shieldPrompt(world: World, body: unknown, faults: StruckFaults): Answer {
  const parsed = shieldSchema.safeParse(body);
  if (!parsed.success) return invalid(world, describe(parsed.error));
  const prompt = parsed.data.userPrompt ?? "";
  const documents = parsed.data.documents ?? [];
  if (prompt === "" && documents.length === 0)
    return invalid(world, "Deserialize failed: userPrompt or documents is required");
  if (lengthOf(world, [prompt]) > CHARACTERS_MAX)
    return invalid(world, `The length of userPrompt must be at most ${CHARACTERS_MAX} characters`);
  if (lengthOf(world, documents) > CHARACTERS_MAX)
    return invalid(world, `The total length of documents must be at most ${CHARACTERS_MAX} characters`);
  const rules = world.contentRules;
  const verdicts = documents.map((document) => ({ attackDetected: isAttack(rules, document) }));
  return strange(faults, {
    ...(prompt === "" ? {} : { userPromptAnalysis: { attackDetected: isAttack(rules, prompt) } }),
    documentsAnalysis: verdicts,
  });
}

function analyzeText(world: World, body: unknown, faults: StruckFaults): Answer {
  const parsed = analyzeSchema.safeParse(body);
  if (!parsed.success) return invalid(world, describe(parsed.error));
  const { text, categories, blocklistNames, haltOnBlocklistHit, outputType } = parsed.data;
  if (lengthOf(world, [text]) > CHARACTERS_MAX)
    return invalid(world, `The length of text must be at most ${CHARACTERS_MAX} characters`);
  const rules = world.contentRules;
  const names = blocklistNames ?? [];
  const unknown = names.find((name) => !rules.blocklists.some((list) => list.name === name));
  if (unknown !== undefined)
    return refuse(404, { code: "ResourceNotFound", message: `Blocklist ${unknown} is not found` });
  const blocklistsMatch = blocklistMatches(
    rules.blocklists.filter((list) => names.includes(list.name)),
    text,
  );
  const isHalted = haltOnBlocklistHit === true && blocklistsMatch.length > 0;
  const wanted = categories && categories.length > 0 ? categories : CATEGORIES;
  const analyzed = isHalted ? [] : wanted.map((category) => analyzeOne(rules, text, { category, outputType }));
  return strange(faults, { blocklistsMatch, categoriesAnalysis: analyzed });
}

function analyzeOne(
  rules: ContentRules,
  text: string,
  wanted: { readonly category: Category; readonly outputType: string | null | undefined },
): { readonly category: Category; readonly severity: number } {
  const severity = severityOf(rules, text, wanted.category);
  // Four levels are eight of which each pair becomes the lower.
  const isEight = wanted.outputType === "EightSeverityLevels";
  return { category: wanted.category, severity: isEight ? severity : severity - (severity % 2) };
}

/** The answer as it is, or as a fault disfigures it. */
function strange(faults: StruckFaults, body: Record<string, unknown>): Answer {
  const fault = faults.find("StrangeAnalysis");
  return { status: 200, body: fault ? disfigure(fault.variant, body) : body };
}

function disfigure(variant: Extract<Fault, { kind: "StrangeAnalysis" }>["variant"], body: Record<string, unknown>) {
  switch (variant) {
    case "Empty":
      return {};
    case "OneMissing":
      return Object.fromEntries(
        Object.entries(body).map(([name, value]) => [name, Array.isArray(value) ? value.slice(0, -1) : value]),
      );
    case "Texts":
      return JSON.parse(JSON.stringify(body).replace(/:(true|false|\d)/g, ':"$1"')) as unknown;
  }
}

/** The length that Azure compares with its limits, in the unit of the switch. */
function lengthOf(world: World, texts: readonly string[]): number {
  const isUtf16 = world.switches.contentSafetyCharacters === "Utf16Units";
  return texts.reduce((sum, text) => sum + (isUtf16 ? text.length : Array.from(text).length), 0);
}

function describe(error: z.ZodError): string {
  const [issue] = error.issues;
  return `Deserialize failed: ${issue?.path.map(String).join(".") || "body"}: ${issue?.message ?? "malformed"}`;
}

function invalid(world: World, message: string): Answer {
  const time = `${new Date(world.clock.now()).toISOString().slice(0, 19)}Z`;
  const suffix = `Request Id: ${world.newId()}, Timestamp: ${time}.`;
  return refuse(400, { code: "InvalidRequestBody", message: `${message} | ${suffix}`, details: [] });
}

function refuse(
  status: number,
  error: { readonly code: string; readonly message: string; readonly details?: readonly unknown[] },
): Answer {
  return { status, body: { error } };
}

/** The body of a status that a fault asks for, with the codes that are documented. */
function faultBody(status: number): Record<string, unknown> {
  return { error: { code: FAULT_CODES[status] ?? String(status), message: `Emulated status ${status}`, details: [] } };
}

const FAULT_CODES: Readonly<Record<number, string>> = {
  400: "InvalidRequestBody",
  404: "ResourceNotFound",
  429: "TooManyRequests",
  500: "InternalError",
  503: "ServerBusy",
};
