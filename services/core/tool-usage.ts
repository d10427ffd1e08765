/**
 * Usage that an agent declares for itself. A function of a tool server says in its result how much it used,
 * `_meta: { "supercargo.dev/usage": { documents_analyzed: 3 } }`; the AgentDeployment says which dimensions it may report,
 * and how much of each in one call. The tool's word is money, so nothing undeclared is ever counted.
 */
export const TOOL_USAGE_META = "supercargo.dev/usage";

/** Base dimensions that an agent may declare: with those of the platform they fit into one PodUsage (32). */
export const DECLARED_DIMENSIONS_MAX = 16;
/** Keys of one report. A longer one is no report of ours, and is refused as a whole. */
const REPORTED_KEYS_MAX = 16;

/** What one function may report. */
export interface DeclaredUsage {
  readonly dimension: string;
  /** Base units of one call; a higher report counts as this. */
  readonly maxPerCall: string;
}

/** Why something of a report was not counted, or not counted in full; a closed list. */
export const USAGE_REFUSAL_CODES = [
  "not_an_object",
  "too_many_keys",
  "undeclared",
  "not_a_count",
  "over_maximum",
  "no_room",
] as const;
export type UsageRefusalCode = (typeof USAGE_REFUSAL_CODES)[number];

export interface UsageRefusal {
  readonly code: UsageRefusalCode;
  /** Never the text of a name that is not a dimension's: it is untrusted. */
  readonly message: string;
}

/** What is counted of one report. */
export interface ToolUsage {
  readonly amounts: readonly { readonly dimension: string; readonly amount: number }[];
  readonly refusals: readonly UsageRefusal[];
}

/** Of a call that reports nothing. */
export const NO_TOOL_USAGE: ToolUsage = { amounts: [], refusals: [] };

interface ReportRules {
  readonly declared: readonly DeclaredUsage[];
  /** Whether the pod's counters can take a dimension: their number is bounded. */
  readonly hasRoom: (dimension: string) => boolean;
}

const DIMENSION = /^[a-z][a-z0-9_]{0,62}$/;
const VALUE_CHARACTERS_MAX = 40;

/** Judges a report, each dimension alone: one bad key spoils no other. A tool that reports nothing has used nothing. */
export function readToolUsage(report: unknown, rules: ReportRules): ToolUsage {
  if (report === undefined) return NO_TOOL_USAGE;
  if (typeof report !== "object" || report === null || Array.isArray(report))
    return refuseAll("not_an_object", "Cannot count usage as a report must be an object of whole numbers");
  const entries = Object.entries(report);
  if (entries.length > REPORTED_KEYS_MAX) {
    const message = `Cannot count usage as a report must have at most ${REPORTED_KEYS_MAX} dimensions: current number is ${entries.length}`;
    return refuseAll("too_many_keys", message);
  }
  const judged = entries.map(([dimension, value]) => judge(dimension, value, rules));
  return {
    amounts: judged.flatMap(({ dimension, amount }) => (amount > 0 ? [{ dimension, amount }] : [])),
    refusals: judged.flatMap(({ refusal }) => (refusal ? [refusal] : [])),
  };
}

interface Judged {
  readonly dimension: string;
  readonly amount: number;
  readonly refusal?: UsageRefusal;
}

function judge(dimension: string, value: unknown, { declared, hasRoom }: ReportRules): Judged {
  const refuse = (code: UsageRefusalCode, why: string, amount = 0): Judged => ({
    dimension,
    amount,
    refusal: { code, message: `Cannot count ${DIMENSION.test(dimension) ? dimension : "a dimension"} as ${why}` },
  });
  const known = declared.find((entry) => entry.dimension === dimension);
  if (!known) return refuse("undeclared", "the function must declare it: see usage in the AgentDeployment");
  if (!isCount(value)) return refuse("not_a_count", `it must be a whole number >= 0: current value is ${show(value)}`);
  if (value > 0 && !hasRoom(dimension)) return refuse("no_room", "the pod counts as many dimensions as it can");
  const max = Number(known.maxPerCall);
  if (value > max) return refuse("over_maximum", `one call may report at most ${max}: current value is ${value}`, max);
  return { dimension, amount: value };
}

/** A JSON number above 2^53 may not be the one that the tool wrote. */
function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function show(value: unknown): string {
  return typeof value === "number" ? String(value).slice(0, VALUE_CHARACTERS_MAX) : typeof value;
}

function refuseAll(code: UsageRefusalCode, message: string): ToolUsage {
  return { amounts: [], refusals: [{ code, message }] };
}
