import { z } from "zod";
import { countSchema, dimensionSchema, hourSchema } from "./api/meta.ts";
import type { PodUsageStatus } from "./api/pod-usage.ts";
import { shiftHour } from "./time.ts";

/** Base dimensions of one pod; the bound of PodUsage. */
const DIMENSIONS_MAX = 32;
/** Hours of an API outage that the ring carries. */
const BOUNDARIES_MAX = 26;
const PAST_EPOCHS_MAX = 16;
/** 18 digits. */
const COUNT_MAX = 999_999_999_999_999_999n;
const POD_MILLISECONDS = "pod_milliseconds";

/** What the sidecar remembers: also the record of its log. Counts are decimal strings, as in PodUsage. */
export const sidecarStateSchema = z.object({
  sequence: countSchema,
  epoch: z.string().max(64),
  pastEpochs: z.array(z.string().max(64)).max(PAST_EPOCHS_MAX),
  /** The counters of this epoch at the newest scrape. */
  last: z.record(dimensionSchema, countSchema),
  /** Base units since the pod began, over all epochs. */
  totals: z.record(dimensionSchema, countSchema),
  quarantined: z.array(dimensionSchema).max(DIMENSIONS_MAX),
  boundaries: z
    .array(z.object({ hour: hourSchema, totals: z.record(dimensionSchema, countSchema) }))
    .max(BOUNDARIES_MAX),
  /** The hour of the newest fold; empty before the time was known. */
  hour: z.union([z.literal(""), hourSchema]),
  /** When the pod began, by the API server's clock without offset; 0 before the time was known. */
  startedMs: z.number().min(0),
});
export type SidecarState = z.output<typeof sidecarStateSchema>;

/** A pod of which nothing is known. */
export const EMPTY_STATE: SidecarState = {
  sequence: "0",
  epoch: "",
  pastEpochs: [],
  last: {},
  totals: {},
  quarantined: [],
  boundaries: [],
  hour: "",
  startedMs: 0,
};

/** Counters as they were read. A counter file may be one write behind the newest scrape, which is no fault. */
export interface Reading {
  readonly epoch: string;
  readonly counters: ReadonlyMap<string, bigint>;
  readonly source: "Scrape" | "File";
}

export type FoldResult =
  | { readonly ok: true; readonly state: SidecarState; readonly quarantined: readonly string[] }
  | { readonly ok: false; readonly problem: string };

/**
 * The epoch table of docs/metering.md: same epoch, the difference; new epoch, the value; a fall or a vanished series bills
 * nothing and quarantines the dimension for the rest of the epoch; an epoch that was over before refuses the whole reading.
 */
export function applyReading(state: SidecarState, reading: Reading): FoldResult {
  if (reading.epoch === "") return { ok: false, problem: "the epoch must not be empty" };
  if (state.pastEpochs.includes(reading.epoch))
    return { ok: false, problem: `the epoch ${reading.epoch} was over before` };
  const dimensions = new Set([...Object.keys(state.totals), ...reading.counters.keys(), POD_MILLISECONDS]);
  if (dimensions.size > DIMENSIONS_MAX)
    return { ok: false, problem: `there must be at most ${DIMENSIONS_MAX} dimensions` };
  if (reading.counters.has(POD_MILLISECONDS))
    return { ok: false, problem: `${POD_MILLISECONDS} is counted by the sidecar alone` };
  const unfit = [...reading.counters].find(([dimension, value]) => !isFit(dimension, value, state));
  if (unfit)
    return {
      ok: false,
      problem: `PodUsage cannot hold ${unfit[1]} of ${unfit[0].slice(0, 80)}: names must be a-z, 0-9 and _, totals have at most 18 digits`,
    };
  return reading.epoch === state.epoch ? foldSameEpoch(state, reading) : foldNewEpoch(state, reading);
}

/** What the API server would refuse would stop every later checkpoint as well. The bound holds for any epoch's value. */
function isFit(dimension: string, value: bigint, state: SidecarState): boolean {
  const total = BigInt(state.totals[dimension] ?? "0");
  return dimensionSchema.safeParse(dimension).success && value >= 0n && total + value <= COUNT_MAX;
}

function foldSameEpoch(state: SidecarState, reading: Reading): FoldResult {
  const fallen = Object.entries(state.last)
    .filter(([dimension, last]) => (reading.counters.get(dimension) ?? -1n) < BigInt(last))
    .map(([dimension]) => dimension);
  if (fallen.length > 0 && reading.source === "File")
    return { ok: false, problem: "the counter file is behind the newest scrape" };
  const fresh = fallen.filter((dimension) => !state.quarantined.includes(dimension));
  const quarantined = [...state.quarantined, ...fresh].sort();
  const last = { ...state.last };
  const totals = { ...state.totals };
  for (const [dimension, value] of reading.counters) {
    if (quarantined.includes(dimension)) continue;
    totals[dimension] = add(totals[dimension], value - BigInt(last[dimension] ?? "0"));
    last[dimension] = value.toString();
  }
  return { ok: true, state: { ...state, last, totals, quarantined }, quarantined: fresh };
}

function foldNewEpoch(state: SidecarState, reading: Reading): FoldResult {
  const totals = { ...state.totals };
  const last: Record<string, string> = {};
  for (const [dimension, value] of reading.counters) {
    totals[dimension] = add(totals[dimension], value);
    last[dimension] = value.toString();
  }
  const past = state.epoch === "" ? state.pastEpochs : [...state.pastEpochs, state.epoch].slice(-PAST_EPOCHS_MAX);
  const next = { ...state, epoch: reading.epoch, pastEpochs: past, last, totals, quarantined: [] };
  return { ok: true, state: next, quarantined: [] };
}

/** What a pod's total is ahead of the counter of this epoch: base units of epochs that are over. */
export function earlierOf(state: Pick<SidecarState, "totals" | "last">, dimension: string): bigint {
  return BigInt(state.totals[dimension] ?? "0") - BigInt(state.last[dimension] ?? "0");
}

/**
 * Time passes: the pod's own life is counted, and each hour that ended since the last fold gets its boundary, the totals of
 * this first look after it. The first boundary of a pod says that it had nothing before. `nowMs` is without offset, `hour`
 * with it; `upMs` is how long this process runs.
 */
export function applyTime(
  state: SidecarState,
  at: { readonly nowMs: number; readonly hour: string; readonly upMs: number },
): SidecarState {
  const counted = BigInt(state.totals[POD_MILLISECONDS] ?? "0");
  const startedMs = state.startedMs === 0 ? at.nowMs - Math.max(Number(counted), at.upMs) : state.startedMs;
  const livedMs = BigInt(Math.max(0, Math.floor(at.nowMs - startedMs)));
  const totals = { ...state.totals, [POD_MILLISECONDS]: (livedMs > counted ? livedMs : counted).toString() };
  if (state.boundaries.length === 0) {
    const birth = { hour: shiftHour(at.hour, -1), totals: {} };
    return { ...state, totals, startedMs, hour: at.hour, boundaries: [birth] };
  }
  const boundaries = [...state.boundaries];
  for (let hour = state.hour || at.hour; hour < at.hour; hour = shiftHour(hour, 1)) {
    if (boundaries.some((boundary) => boundary.hour >= hour)) continue;
    boundaries.push({ hour, totals });
    if (boundaries.length > BOUNDARIES_MAX) boundaries.shift();
  }
  return { ...state, totals, startedMs, boundaries, hour: at.hour > state.hour ? at.hour : state.hour };
}

/** The state that a PodUsage holds: what a sidecar goes on from when its log is gone. */
export function fromPodUsage(status: PodUsageStatus): SidecarState {
  const boundaries = (status.boundaries ?? []).map(({ hour, totals }) => ({ hour, totals: toRecord(totals) }));
  const newest = boundaries.toSorted((a, b) => (a.hour < b.hour ? -1 : 1)).at(-1);
  return {
    ...EMPTY_STATE,
    sequence: status.sequence,
    epoch: status.epoch ?? "",
    last: Object.fromEntries(
      status.totals
        .filter((entry) => entry.dimension !== POD_MILLISECONDS)
        .map((entry) => [entry.dimension, entry.last]),
    ),
    totals: toRecord(status.totals),
    quarantined: status.quarantined ?? [],
    boundaries: boundaries.toSorted((a, b) => (a.hour < b.hour ? -1 : 1)),
    hour: newest ? shiftHour(newest.hour, 1) : "",
  };
}

/** Whichever knows more: a published sequence beyond the log's means that the log lost its end. */
export function chooseState(logged: SidecarState | undefined, published: SidecarState | undefined): SidecarState {
  if (!logged || !published) return logged ?? published ?? EMPTY_STATE;
  return BigInt(published.sequence) > BigInt(logged.sequence) ? published : logged;
}

/**
 * Whether a PodUsage knows more than we do: our log lost its end, or could not be written for a while. Its sequence alone
 * does not tell, as ours may have gone on from an older log.
 */
export function isAhead(published: PodUsageStatus, state: SidecarState): boolean {
  const isMore = ({ dimension, total }: { dimension: string; total: string }): boolean =>
    dimension !== POD_MILLISECONDS && BigInt(total) > BigInt(state.totals[dimension] ?? "0");
  return BigInt(published.sequence) > BigInt(state.sequence) || published.totals.some(isMore);
}

/** Whether a state differs in more than the passing of the pod's own life, which needs no log. */
export function isWorthLogging(before: SidecarState, after: SidecarState): boolean {
  return withoutLife(before) !== withoutLife(after);
}

function withoutLife(state: SidecarState): string {
  const { [POD_MILLISECONDS]: _, ...totals } = state.totals;
  return JSON.stringify({ ...state, totals });
}

/** What the sidecar tells of its service beside the totals. */
export interface Echo {
  readonly final: boolean;
  /** Nothing before the API server has told the time. */
  readonly reportedAt: string | undefined;
  readonly enforced: PodUsageStatus["enforced"];
  readonly leases: NonNullable<PodUsageStatus["leases"]>;
}

/** The status to publish. Whole and cumulative, so that a lost or repeated write changes nothing. */
export function toPodUsageStatus(state: SidecarState, echo: Echo): PodUsageStatus {
  return {
    ...(state.epoch === "" ? {} : { epoch: state.epoch }),
    sequence: state.sequence,
    totals: Object.entries(state.totals).map(([dimension, total]) => ({
      dimension,
      total,
      last: state.last[dimension] ?? "0",
    })),
    boundaries: state.boundaries.map(({ hour, totals }) => ({ hour, totals: toList(totals) })),
    final: echo.final ? "Yes" : "No",
    ...(echo.reportedAt === undefined ? {} : { reportedAt: echo.reportedAt }),
    quarantined: state.quarantined,
    leases: echo.leases,
    ...(echo.enforced ? { enforced: echo.enforced } : {}),
  };
}

function toList(totals: Readonly<Record<string, string>>): { dimension: string; total: string }[] {
  return Object.entries(totals).map(([dimension, total]) => ({ dimension, total }));
}

function toRecord(list: readonly { readonly dimension: string; readonly total: string }[]): Record<string, string> {
  return Object.fromEntries(list.map(({ dimension, total }) => [dimension, total]));
}

function add(total: string | undefined, amount: bigint): string {
  return (BigInt(total ?? "0") + amount).toString();
}
