/**
 * What a deployment has shown of itself, and what follows from it: a fold without a clock of its own. All times are monotonic
 * milliseconds. Closed: everything is sent. Open: nothing, for a while. Half-open: one request as a probe, and its answer decides.
 */
export interface Health {
  /** Faults in a row, while closed. */
  readonly faults: number;
  /** How often in a row it was opened: each time doubles the while. */
  readonly openings: number;
  /** Nothing is sent before, and then one probe; 0 while closed. */
  readonly openUntilMs: number;
  readonly isProbing: boolean;
  /** It has asked to be left alone until then. That is no fault, and what follows is no probe. */
  readonly pausedUntilMs: number;
  /** Whether it asked by 429. */
  readonly isRateLimited: boolean;
  /** Rises with each opening and each probe: what was sent in an earlier one tells nothing about this one. */
  readonly epoch: number;
}

/** How one attempt went, as far as its deployment is judged by it. */
export type Verdict =
  /** A usable answer has begun. */
  | { readonly kind: "begun" }
  /** It answered whole, be it that the request is wrong. */
  | { readonly kind: "whole" }
  /** No connection, no answer in time, one that broke off or is none, 408 or 5xx. */
  | { readonly kind: "fault" }
  /** 429, or 503 with a wait. */
  | { readonly kind: "pause"; readonly waitMs: number; readonly isRateLimit: boolean }
  /** Nothing is known: the client left, or nothing was sent. */
  | { readonly kind: "none" };

export const BEGUN: Verdict = { kind: "begun" };
export const NO_VERDICT: Verdict = { kind: "none" };

export const HEALTHY: Health = {
  faults: 0,
  openings: 0,
  openUntilMs: 0,
  isProbing: false,
  pausedUntilMs: 0,
  isRateLimited: false,
  epoch: 0,
};

/** Two requests in a row that fail with all their attempts. Envoy's outlier detection has the same number. */
export const FAULTS_MAX = 5;
const OPEN_MIN_MS = 10_000;
/** Also the longest pause that is kept: a day's quota costs one request in five minutes, a broken clock no day. */
export const OPEN_MAX_MS = 300_000;
/** How long others wait for the answer of a probe, as they are told. */
const PROBE_MS = 2_000;

/** Whether a request may be sent to it now. */
export function isAvailable(health: Health, nowMs: number): boolean {
  if (health === HEALTHY) return true;
  return health.pausedUntilMs <= nowMs && health.openUntilMs <= nowMs && !health.isProbing;
}

/** In how many milliseconds a request may be sent to it, as far as is known. */
export function waitOf(health: Health, nowMs: number): number {
  const untilMs = Math.max(health.pausedUntilMs, health.openUntilMs, health.isProbing ? nowMs + PROBE_MS : 0);
  return Math.max(0, untilMs - nowMs);
}

/** It is sent a request that `isAvailable` allowed: a probe, unless it is closed. */
export function applyAdmission(health: Health): Health {
  return health.openUntilMs === 0 ? health : { ...health, isProbing: true, epoch: health.epoch + 1 };
}

/** An attempt that was admitted in `epoch` went as `verdict` says. The same object when nothing changes. */
export function applyVerdict(
  health: Health,
  { verdict, epoch, nowMs }: { readonly verdict: Verdict; readonly epoch: number; readonly nowMs: number },
): Health {
  // A pause is asked for by whoever answers, whenever it was asked.
  const paused = verdict.kind === "pause" ? applyPause(health, verdict, nowMs) : health;
  if (epoch !== health.epoch) return paused;
  switch (verdict.kind) {
    case "begun":
    case "pause":
      return paused.isProbing ? onProbation(paused) : paused;
    case "whole":
      return sound(health);
    case "fault":
      return faulty(health, nowMs);
    case "none":
      return health.isProbing ? { ...health, isProbing: false } : health;
  }
}

/** What people see of it: 0 healthy, 1 partial (it is left alone as it asked, or is being probed), 2 outage. */
export function gradeOf(health: Health, nowMs: number): 0 | 1 | 2 {
  if (health.openUntilMs > nowMs) return 2;
  return health.openUntilMs > 0 || health.pausedUntilMs > nowMs ? 1 : 0;
}

function applyPause(health: Health, pause: Extract<Verdict, { kind: "pause" }>, nowMs: number): Health {
  const pausedUntilMs = nowMs + Math.min(OPEN_MAX_MS, pause.waitMs);
  if (pausedUntilMs <= health.pausedUntilMs) return health;
  return { ...health, pausedUntilMs, isRateLimited: pause.isRateLimit };
}

function sound(health: Health): Health {
  if (health.faults === 0 && health.openings === 0) return health;
  return { ...health, faults: 0, openings: 0, openUntilMs: 0, isProbing: false };
}

function faulty(health: Health, nowMs: number): Health {
  const faults = health.faults + 1;
  return health.isProbing || faults >= FAULTS_MAX ? opened(health, nowMs) : { ...health, faults };
}

/** Closed, but one fault opens it again, and for longer, until an answer was whole. */
function onProbation(health: Health): Health {
  return { ...health, faults: FAULTS_MAX - 1, openUntilMs: 0, isProbing: false };
}

function opened(health: Health, nowMs: number): Health {
  const openMs = Math.min(OPEN_MAX_MS, OPEN_MIN_MS * 2 ** Math.min(health.openings, 10));
  return {
    ...health,
    faults: 0,
    openings: health.openings + 1,
    openUntilMs: nowMs + openMs,
    isProbing: false,
    epoch: health.epoch + 1,
  };
}
