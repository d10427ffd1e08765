import { z } from "zod";
import { authSpecSchema, egressSchema, urlSchema } from "./endpoint.ts";
import { cel, nameSchema, setList } from "./meta.ts";

/** The harm categories of Azure AI Content Safety. */
export const HARM_CATEGORIES = ["Hate", "SelfHarm", "Sexual", "Violence"] as const;

/** What LocalRules finds without asking anybody. */
export const LOCAL_DETECTORS = ["Secrets", "Cards", "Emails"] as const;

const wordSchema = z.string().min(2).max(128);

const localRulesSchema = z
  .object({
    detect: z
      .array(z.enum(LOCAL_DETECTORS))
      .max(3)
      .meta(setList)
      .optional()
      .describe("Keys of well-known forms, numbers of payment cards, e-mail addresses."),
    denyWords: z.array(wordSchema).max(256).meta(setList).optional().describe("Whole words or phrases, in any case."),
    allowWords: z
      .array(wordSchema)
      .max(256)
      .meta(setList)
      .optional()
      .describe("Cards and addresses that are no hit, as that of your own support."),
  })
  .describe("What counts as a hit of LocalRules.");

const contentSafetySchema = z
  .object({
    endpoint: urlSchema.describe("https://RESOURCE.cognitiveservices.azure.com"),
    auth: authSpecSchema.prefault({}),
    timeoutMs: z
      .int32()
      .min(100)
      .max(30_000)
      .default(3_000)
      .describe("For one check of one request, all its calls and retries included."),
    egress: egressSchema.optional(),
  })
  .describe("The Azure AI Content Safety resource that is asked; PromptShields and AnalyzeText need one.");

const analyzeTextSchema = z
  .object({
    categories: z
      .array(
        z.object({
          name: z.enum(HARM_CATEGORIES),
          severityMin: z.int32().min(1).max(7).default(4).describe("From this severity of 0 to 7 on it is a hit."),
        }),
      )
      .min(1)
      .max(4)
      .meta({ "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"] })
      .optional()
      .describe("All four from severity 4 if absent."),
    blocklists: z
      .array(z.string().min(1).max(64))
      .max(10)
      .meta(setList)
      .optional()
      .describe("Blocklists of the resource; any match is a hit."),
  })
  .describe("What counts as a hit of AnalyzeText.");

/** One guardrail of an agent. Each new kind is one more `type`. */
export const guardrailSchema = z
  .object({
    name: nameSchema,
    type: z.enum(["PromptShields", "AnalyzeText", "LocalRules", "AzureContentFilter"]),
    phase: z.enum(["Input", "Output"]),
    action: z.enum(["Reject", "Mask", "Alert"]).default("Reject"),
    failureMode: z
      .enum(["Closed", "Open"])
      .default("Closed")
      .describe("What happens to a request that could not be checked: it is refused, or it passes."),
    contentSafety: contentSafetySchema.optional(),
    analyzeText: analyzeTextSchema.optional(),
    localRules: localRulesSchema.optional(),
  })
  .meta(
    cel(
      {
        rule: "has(self.contentSafety) == (self.type in ['PromptShields', 'AnalyzeText'])",
        message: "contentSafety must be set exactly when type is PromptShields or AnalyzeText",
        reason: "FieldValueInvalid",
      },
      {
        rule: "!has(self.analyzeText) || self.type == 'AnalyzeText'",
        message: "analyzeText must be set only when type is AnalyzeText",
        reason: "FieldValueInvalid",
      },
      {
        rule: "has(self.localRules) == (self.type == 'LocalRules')",
        message: "localRules must be set exactly when type is LocalRules",
        reason: "FieldValueInvalid",
      },
      {
        rule: "self.type != 'PromptShields' || self.phase == 'Input'",
        message: "phase must be Input when type is PromptShields",
        fieldPath: ".phase",
        reason: "FieldValueInvalid",
      },
      {
        rule: "self.type != 'AzureContentFilter' || self.phase == 'Output'",
        message: "phase must be Output when type is AzureContentFilter",
        fieldPath: ".phase",
        reason: "FieldValueInvalid",
      },
      {
        rule: "self.action != 'Mask' || self.type == 'LocalRules'",
        message: "action Mask needs type LocalRules: the others tell that there is something, not where",
        fieldPath: ".action",
        reason: "FieldValueInvalid",
      },
    ),
  );

/** A guardrail as the spec names it. */
export type GuardrailSpec = z.output<typeof guardrailSchema>;
