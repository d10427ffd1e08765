import type { GatewayDeployment } from "#core/api/pod-config.ts";
import { type Health, isAvailable, waitOf } from "./breaker.ts";

/** A deployment of an alias, with what it has shown of itself. */
export interface Target {
  readonly deployment: GatewayDeployment;
  /** 0 for the group that is asked first. */
  readonly rank: number;
  /** Kept over changes of configuration, so shared by the targets of all of them. */
  readonly record: { health: Health };
}

/** The deployments of one alias by priority, lowest number first. */
export type TargetGroups = readonly (readonly Target[])[];

export interface ChoiceOptions {
  readonly nowMs: number;
  /** In [0, 1). */
  readonly random: () => number;
  /** Those that have failed this request already. */
  readonly tried?: ReadonlySet<Target> | undefined;
}

/** The deployment to ask now: of the first group with one that may be asked, one by weighted chance. Nothing if there is none. */
export function chooseTarget(groups: TargetGroups, options: ChoiceOptions): Target | undefined {
  for (const group of groups) {
    const [only] = group;
    const target = group.length === 1 && only !== undefined ? openOnly(only, options) : chooseIn(group, options);
    if (target !== undefined) return target;
  }
  return undefined;
}

/** When none may be asked now. */
export interface Outlook {
  /** How long until one may be asked that is sound, so that waiting for it makes sense. */
  readonly waitMs: number | undefined;
  /** How long until any may be asked: for the client. */
  readonly shortestMs: number;
  /** All have asked by 429 to be left alone. */
  readonly isRateLimited: boolean;
}

/**
 * What there is to wait for. A deployment that has failed this request and is still closed may be asked again after `againMs`.
 * One that is open after faults is not waited for: its probe is one request's business, and the others would pile up behind it.
 */
export function outlookOf(
  groups: TargetGroups,
  { nowMs, againMs }: { readonly nowMs: number; readonly againMs: number },
): Outlook {
  let waitMs: number | undefined;
  let shortestMs = Number.POSITIVE_INFINITY;
  let isRateLimited = true;
  for (const { record } of groups.flat()) {
    const { health } = record;
    const ownMs = isAvailable(health, nowMs) ? againMs : waitOf(health, nowMs);
    shortestMs = Math.min(shortestMs, ownMs);
    const isSound = health.openUntilMs === 0;
    if (isSound) waitMs = Math.min(waitMs ?? Number.POSITIVE_INFINITY, ownMs);
    if (!isSound || !health.isRateLimited || health.pausedUntilMs <= nowMs) isRateLimited = false;
  }
  return { waitMs, shortestMs, isRateLimited };
}

function openOnly(target: Target, options: ChoiceOptions): Target | undefined {
  return isOpenTo(target, options) ? target : undefined;
}

function isOpenTo(target: Target, { nowMs, tried }: ChoiceOptions): boolean {
  return isAvailable(target.record.health, nowMs) && tried?.has(target) !== true;
}

function chooseIn(group: readonly Target[], options: ChoiceOptions): Target | undefined {
  let total = 0;
  for (const target of group) if (isOpenTo(target, options)) total += target.deployment.weight;
  if (total === 0) return undefined;
  let mark = options.random() * total;
  let last: Target | undefined;
  for (const target of group) {
    if (!isOpenTo(target, options)) continue;
    last = target;
    mark -= target.deployment.weight;
    if (mark < 0) return target;
  }
  return last;
}
