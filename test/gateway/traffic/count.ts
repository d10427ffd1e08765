import { createRandom } from "../../simulation/random.ts";
import { difference, eventually } from "../../../services/gateway/test-world.ts";
import { drive, type Driven } from "./drive.ts";
import { ALIASES, planCalls } from "./plan.ts";
import { readSeen } from "./seen.ts";
import { type AuditedCall, readAudit } from "./audit.ts";
import { startTrafficWorld, type Tally, type Tokens, type TrafficWorld } from "./world.ts";

export interface CountOptions {
  readonly streams: number;
  readonly seed: number;
  readonly clients?: number;
}

/** What a run of mixed traffic shows: every sum twice, and all that does not fit. */
export interface CountResult {
  readonly seed: number;
  readonly streams: number;
  readonly calls: number;
  readonly seconds: number;
  /** Answers that were read to their end. */
  readonly whole: { readonly sent: Tokens; readonly counted: Tokens };
  /** Streams whose client was to leave. Those that were not counted had sent nothing yet. */
  readonly cancelled: {
    readonly requests: number;
    readonly notCounted: number;
    readonly seenTokens: number;
    readonly countedTokens: number;
    readonly sentTokens: number;
  };
  /** The counter file against the sum of all audit lines. */
  readonly total: { readonly counted: Tokens; readonly audited: Tokens };
  readonly problems: readonly string[];
}

const CLIENTS = 48;
const CANCELLED_SHARE = 0.1;
const PROBLEMS_MAX = 20;

/**
 * Holds the last law of limits over real processes: what is counted of whole answers is what the model sent, to the token; of a
 * cancelled one at least what the client saw and at most what the model sent, its input a quarter of the body's bytes.
 */
export async function countStreams({ streams, seed, clients = CLIENTS }: CountOptions): Promise<CountResult> {
  const world = await startTrafficWorld();
  try {
    const before = await world.gateway.gateway.usage();
    const startMs = performance.now();
    const driven: Driven[] = [];
    const calls = planCalls({ seed, streams, cancelledShare: CANCELLED_SHARE }, createRandom(seed));
    await drive(calls, { url: world.gateway.gateway.url, clients }, (each) => driven.push(each));
    const seconds = Math.round(performance.now() - startMs) / 1000;
    await world.untilQuiet();
    const audit = await auditOf(world, driven);
    const tallies = {
      whole: await world.tally(ALIASES.whole),
      cancelled: await settledTally(world),
      counted: difference(await world.gateway.gateway.usage(), before),
    };
    return { seed, streams, calls: driven.length, seconds, ...judge(driven, audit, tallies) };
  } finally {
    await world.stop();
  }
}

interface Tallies {
  readonly whole: Tally;
  readonly cancelled: Tally;
  readonly counted: Readonly<Record<string, number>>;
}

function judge(
  driven: readonly Driven[],
  audit: ReadonlyMap<string, AuditedCall>,
  tallies: Tallies,
): Omit<CountResult, "seed" | "streams" | "calls" | "seconds"> {
  const lines = (of: (each: Driven) => boolean): AuditedCall[] =>
    driven.filter(of).flatMap(({ call }) => audit.get(call.id) ?? []);
  const isWhole = ({ call }: Driven): boolean => call.leavesAtBytes === undefined;
  const whole = { sent: tallies.whole.completed, counted: sum(lines(isWhole)) };
  const left = driven.filter((each) => !isWhole(each));
  const leftLines = lines((each) => !isWhole(each));
  const cancelled = {
    requests: left.length,
    notCounted: leftLines.filter(({ isCounted }) => !isCounted).length,
    seenTokens: left.reduce((total, { seen }) => total + readSeen(seen.text).deltaTokens, 0),
    countedTokens: sum(leftLines).outputTokens,
    sentTokens: tallies.cancelled.completed.outputTokens + tallies.cancelled.cut.outputTokens,
  };
  const total = { counted: toTokens(tallies.counted), audited: sum([...audit.values()]) };
  const problems = [
    ...unequal("whole answers: sent and counted", whole.sent, whole.counted),
    ...unequal("counter file and audit", total.counted, total.audited),
    ...(tallies.whole.cut.requests > 0 ? [`${tallies.whole.cut.requests} whole answers were cut at the model`] : []),
    ...(cancelled.countedTokens > cancelled.sentTokens ? ["cancelled: more was counted than sent"] : []),
    ...driven.flatMap((each) => problemsOf(each, audit.get(each.call.id))),
  ];
  return { whole, cancelled, total, problems: problems.slice(0, PROBLEMS_MAX) };
}

/** What is wrong with one call. */
function problemsOf({ call, seen }: Driven, line: AuditedCall | undefined): string[] {
  const told = (problem: string): string[] => [`${call.id} ${call.path}: ${problem}`];
  if (line === undefined) return told("no audit line");
  if (call.leavesAtBytes === undefined) return wholeProblems({ call, seen }, line).flatMap(told);
  const { deltaTokens } = readSeen(seen.text);
  if (!line.isCounted) return deltaTokens > 0 ? told(`${deltaTokens} tokens were seen and none counted`) : [];
  if (line.outputTokens < deltaTokens) return told(`${deltaTokens} tokens were seen, ${line.outputTokens} counted`);
  if (line.outputTokens > call.outputTokensMax)
    return told(`${line.outputTokens} tokens were counted, at most ${call.outputTokensMax} sent`);
  const inputEstimate = Math.ceil(Buffer.byteLength(call.body) / 4);
  if (line.isEstimated && line.inputTokens !== inputEstimate)
    return told(`an input of ${line.inputTokens} tokens was estimated, not ${inputEstimate}`);
  return [];
}

function wholeProblems({ call, seen }: Driven, line: AuditedCall): string[] {
  if (seen.status !== 200 || seen.end !== "whole") return [`it ended ${seen.end} with ${seen.status}: ${seen.text}`];
  if (line.isEstimated) return ["a whole answer was estimated"];
  return toldProblems({ call, seen }, line);
}

/** A client that is told usage is told what was counted; one that did not ask for it in a chat stream is told nothing. */
function toldProblems({ call, seen }: Driven, line: AuditedCall): string[] {
  const { usage } = readSeen(seen.text);
  if (call.isStream && call.path === "/v1/chat/completions" && !call.asksUsage)
    return usage === undefined ? [] : ["usage was told to a client that had not asked"];
  const isSame = usage?.inputTokens === line.inputTokens && usage.outputTokens === line.outputTokens;
  return isSame ? [] : [`its client was told ${JSON.stringify(usage)}, counted was ${JSON.stringify(line)}`];
}

function sum(lines: readonly AuditedCall[]): Tokens {
  const of = (pick: (line: AuditedCall) => number): number => lines.reduce((total, line) => total + pick(line), 0);
  return {
    requests: of(({ isCounted }) => Number(isCounted)),
    inputTokens: of((line) => line.inputTokens),
    outputTokens: of((line) => line.outputTokens),
    cachedTokens: of((line) => line.cachedTokens),
  };
}

function toTokens(counted: Readonly<Record<string, number>>): Tokens {
  const of = (dimension: string): number => counted[dimension] ?? 0;
  return {
    requests: of("model_requests"),
    inputTokens: of("input_tokens"),
    outputTokens: of("output_tokens"),
    cachedTokens: of("cached_input_tokens"),
  };
}

function unequal(what: string, first: Tokens, second: Tokens): string[] {
  const keys = ["requests", "inputTokens", "outputTokens", "cachedTokens"] as const;
  return keys.flatMap((key) =>
    first[key] === second[key] ? [] : [`${what} must be equal: ${key} are ${first[key]} and ${second[key]}`],
  );
}

/** The lines of all calls, once they have come through the pipe. */
async function auditOf(world: TrafficWorld, driven: readonly Driven[]): Promise<ReadonlyMap<string, AuditedCall>> {
  let found: ReadonlyMap<string, AuditedCall> = new Map();
  await eventually(() => {
    found = readAudit(world.gateway.gateway.audit());
    return driven.every(({ call }) => found.has(call.id)) ? true : undefined;
  }).catch(() => undefined);
  return found;
}

/** The model notices that a client has left when the connection says so. */
async function settledTally(world: TrafficWorld): Promise<Tally> {
  let before = "";
  return await eventually(async () => {
    const tally = await world.tally(ALIASES.cancelled);
    const isSettled = JSON.stringify(tally) === before;
    before = JSON.stringify(tally);
    return isSettled ? tally : undefined;
  });
}
