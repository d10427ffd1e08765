import type { Clock } from "#runtime/clock.ts";
import type { UpstreamCredentials } from "../upstream/credentials.ts";
import { endpointOf, type ServiceGuardrail, type Snapshot } from "../snapshot.ts";
import { guardrailPoolKey, type Upstreams } from "../upstream/upstream.ts";
import { checkAnalyzeText } from "./analyze-text.ts";
import { createCleanMemo } from "./clean-memo.ts";
import type { ContentSafety } from "./content-safety.ts";
import type { InputGuardrail } from "./guardrail.ts";
import { createLocalCheck } from "./local/local-rules.ts";
import { checkPromptShields } from "./prompt-shields.ts";

/** The guardrails of the configuration in force. */
export interface Guardrails {
  /** Those of the phase Input, in their order. */
  inputOf(snapshot: Snapshot): readonly InputGuardrail[];
}

export interface GuardrailsOptions {
  readonly upstreams: Upstreams;
  readonly credentials: UpstreamCredentials;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
}

/** Some 4 MiB of keys and times at the most. */
const MEMO_MAX = 16_384;
const MEMO_LIFE_MS = 300_000;

export function createGuardrails(options: GuardrailsOptions): Guardrails {
  let kept: { readonly snapshot: Snapshot; readonly input: readonly InputGuardrail[] } | undefined;
  return {
    inputOf(snapshot) {
      if (kept?.snapshot !== snapshot) kept = { snapshot, input: build(options, snapshot) };
      return kept.input;
    },
  };
}

function build(options: GuardrailsOptions, snapshot: Snapshot): InputGuardrail[] {
  return (snapshot.config.guardrails ?? []).flatMap((guardrail): InputGuardrail[] => {
    if (guardrail.phase !== "Input" || guardrail.type === "AzureContentFilter") return [];
    const { name, action, failureMode } = guardrail;
    if (guardrail.type === "LocalRules") {
      const check = createLocalCheck(guardrail);
      const work = { steps: 0 };
      const checkTexts: InputGuardrail["check"] = ({ prompts, documents }) =>
        Promise.resolve(check([...prompts, ...documents], work));
      return [{ name, action, failureMode, check: checkTexts }];
    }
    // What one guardrail found clean says nothing to another, which may ask another resource or for other things.
    const common = {
      service: contentSafetyOf(options, snapshot, guardrail),
      memo: createCleanMemo({ max: MEMO_MAX, lifeMs: MEMO_LIFE_MS }),
      timeoutMs: guardrail.timeoutMs,
    };
    if (guardrail.type === "PromptShields")
      return [{ name, action, failureMode, check: (texts, cut) => checkPromptShields(common, texts, cut) }];
    const { categories, blocklists } = guardrail;
    const analyze = { ...common, categories, blocklists };
    return [
      {
        name,
        action,
        failureMode,
        check: (texts, cut) => checkAnalyzeText(analyze, [...texts.prompts, ...texts.documents], cut),
      },
    ];
  });
}

function contentSafetyOf(options: GuardrailsOptions, snapshot: Snapshot, guardrail: ServiceGuardrail): ContentSafety {
  const { upstreams, credentials, clock, random } = options;
  const { origin, basePath } = endpointOf(snapshot, guardrail.endpoint);
  return {
    dispatcher: upstreams.pool(guardrailPoolKey(guardrail.name), origin),
    basePath,
    credential: () => credentials.headerFor({ type: "ContentSafety", auth: guardrail.auth }),
    clock,
    random,
  };
}
