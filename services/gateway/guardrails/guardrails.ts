import type { Clock } from "#runtime/clock.ts";
import type { UpstreamCredentials } from "../upstream/credentials.ts";
import { endpointOf, type ServiceGuardrail, type Snapshot } from "../snapshot.ts";
import { guardrailPoolKey, type Upstreams } from "../upstream/upstream.ts";
import { type AnalyzeTextOptions, checkAnalyzeText } from "./analyze-text.ts";
import type { CheckResult } from "./check.ts";
import { createCleanMemo } from "./clean-memo.ts";
import type { ContentSafety } from "./content-safety.ts";
import type { InputGuardrail } from "./guardrail.ts";
import { createLocalCheck } from "./local/local-rules.ts";
import { createLocalScan } from "./local/local-scan.ts";
import { createLocalMatcher } from "./local/matcher.ts";
import type { OutputGuardrail, OutputGuardrails } from "./output/output-guardrail.ts";
import type { TextScan } from "./output/text-stage.ts";
import { checkPromptShields } from "./prompt-shields.ts";

/** The guardrails of the configuration in force. */
export interface Guardrails {
  /** Those of the phase Input, in their order. */
  inputOf(snapshot: Snapshot): readonly InputGuardrail[];
  /** Those of the phase Output that look at answers, in theirs. */
  outputOf(snapshot: Snapshot): OutputGuardrails;
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
  let kept: Built | undefined;
  const of = (snapshot: Snapshot): Built => {
    if (kept?.snapshot !== snapshot)
      kept = { snapshot, input: build(options, snapshot), output: buildOutput(options, snapshot) };
    return kept;
  };
  return { inputOf: (snapshot) => of(snapshot).input, outputOf: (snapshot) => of(snapshot).output };
}

interface Built {
  readonly snapshot: Snapshot;
  readonly input: readonly InputGuardrail[];
  readonly output: OutputGuardrails;
}

function build(options: GuardrailsOptions, snapshot: Snapshot): InputGuardrail[] {
  return (snapshot.config.guardrails ?? []).flatMap((guardrail): InputGuardrail[] => {
    if (guardrail.phase !== "Input" || guardrail.type === "AzureContentFilter") return [];
    const { name, action, failureMode } = guardrail;
    if (guardrail.type === "LocalRules") {
      // What is masked has been before anybody is asked.
      if (action === "Mask") return [];
      const check = createLocalCheck(guardrail);
      const checkTexts: InputGuardrail["check"] = ({ prompts, documents }, cut) =>
        check([...prompts, ...documents], { steps: 0 }, () => cut.aborted);
      return [{ name, action, failureMode, check: checkTexts }];
    }
    if (guardrail.type === "PromptShields") {
      const common = commonOptions(options, snapshot, guardrail);
      return [{ name, action, failureMode, check: (texts, cut) => checkPromptShields(common, texts, cut) }];
    }
    const analyze = analyzeOptions(options, snapshot, guardrail);
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

function buildOutput(options: GuardrailsOptions, snapshot: Snapshot): OutputGuardrails {
  const list = (snapshot.config.guardrails ?? []).flatMap((guardrail): OutputGuardrail[] => {
    const { name, phase, action, failureMode } = guardrail;
    if (phase !== "Output") return [];
    if (guardrail.type === "LocalRules") {
      const matcher = createLocalMatcher(guardrail);
      const scan = (): TextScan => createLocalScan(matcher, { steps: 0 });
      return [{ kind: "local", name, action, failureMode, scan }];
    }
    if (guardrail.type !== "AnalyzeText") return [];
    const analyze = analyzeOptions(options, snapshot, guardrail);
    const check = (texts: readonly string[], cut: AbortSignal): Promise<CheckResult> =>
      checkAnalyzeText(analyze, texts, cut);
    return [{ kind: "remote", name, action, failureMode, check }];
  });
  // Those that ask nobody come first: what they mask is told nobody.
  const inOrder = [...list.filter(({ kind }) => kind === "local"), ...list.filter(({ kind }) => kind === "remote")];
  return { list: inOrder, hasRemote: list.some(({ kind }) => kind === "remote") };
}

/** What one guardrail found clean says nothing to another, which may ask another resource or for other things. */
function commonOptions(
  options: GuardrailsOptions,
  snapshot: Snapshot,
  guardrail: ServiceGuardrail,
): Pick<AnalyzeTextOptions, "service" | "memo" | "timeoutMs"> {
  return {
    service: contentSafetyOf(options, snapshot, guardrail),
    memo: createCleanMemo({ max: MEMO_MAX, lifeMs: MEMO_LIFE_MS }),
    timeoutMs: guardrail.timeoutMs,
  };
}

function analyzeOptions(
  options: GuardrailsOptions,
  snapshot: Snapshot,
  guardrail: Extract<ServiceGuardrail, { type: "AnalyzeText" }>,
): AnalyzeTextOptions {
  const { categories, blocklists } = guardrail;
  return { ...commonOptions(options, snapshot, guardrail), categories, blocklists };
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
