import type { GatewayDeployment } from "#core/api/pod-config.ts";
import type { Clock } from "#runtime/clock.ts";
import type { Logger } from "#runtime/log.ts";
import type { ModelRoute } from "../snapshot.ts";
import { applyAdmission, applyVerdict, gradeOf, type Health, HEALTHY, type Verdict } from "./breaker.ts";
import type { Target, TargetGroups } from "./choose.ts";

/** How each deployment of each alias does, as this pod has seen it. */
export interface Deployments {
  /** The deployments of an alias of any configuration, also of one that is no longer in force. */
  of(route: ModelRoute): TargetGroups;
  /** Takes over a new configuration: a deployment that stays what it was keeps its state. */
  retain(routes: Iterable<ModelRoute>): void;
  /** A request goes to it now; the epoch belongs to its verdict. */
  admit(target: Target): number;
  /** How that request went. */
  judge(target: Target, epoch: number, verdict: Verdict): void;
  /** For the gauge: 0 healthy, 1 partial, 2 outage. */
  grades(): readonly { readonly model: string; readonly deployment: string; readonly grade: number }[];
}

interface Kept {
  readonly model: string;
  readonly deployment: string;
  health: Health;
}

export function createDeployments(options: {
  readonly clock: Clock;
  readonly log: Pick<Logger, "warn" | "info">;
}): Deployments {
  const { clock, log } = options;
  let kept = new Map<string, Kept>();
  const groupsOf = new WeakMap<ModelRoute, TargetGroups>();

  const build = (route: ModelRoute): TargetGroups => {
    const groups = route.groups.map((group, rank) =>
      group.map((deployment) => ({
        deployment,
        rank,
        record: kept.get(idOf(route, deployment)) ?? fresh(route, deployment),
      })),
    );
    groupsOf.set(route, groups);
    return groups;
  };

  return {
    of: (route) => groupsOf.get(route) ?? build(route),
    retain(routes) {
      const before = kept;
      kept = new Map();
      for (const route of routes) {
        for (const deployment of route.groups.flat()) {
          const id = idOf(route, deployment);
          kept.set(id, before.get(id) ?? fresh(route, deployment));
        }
        build(route);
      }
    },
    admit({ record }) {
      if (record.health === HEALTHY) return HEALTHY.epoch;
      record.health = applyAdmission(record.health);
      return record.health.epoch;
    },
    judge(target, epoch, verdict) {
      const { record } = target;
      const before = record.health;
      if (isNoNews(before, verdict)) return;
      record.health = applyVerdict(before, { verdict, epoch, nowMs: clock.monotonic() });
      noteChange(log, target, before);
    },
    grades: () => {
      const nowMs = clock.monotonic();
      return [...kept.values()].map(({ model, deployment, health }) => ({
        model,
        deployment,
        grade: gradeOf(health, nowMs),
      }));
    },
  };
}

/** Most answers are whole ones of a deployment without a fault. */
function isNoNews(health: Health, { kind }: Verdict): boolean {
  if (kind === "begun") return !health.isProbing;
  return kind === "whole" && health.faults === 0 && health.openings === 0;
}

/** The same deployment is one of the same name that asks the same model at the same place. */
function idOf(route: ModelRoute, deployment: GatewayDeployment): string {
  return JSON.stringify([route.alias, deployment.name, deployment.baseUrl, deployment.model]);
}

function fresh(route: ModelRoute, deployment: GatewayDeployment): Kept {
  return { model: route.alias, deployment: deployment.name, health: HEALTHY };
}

function noteChange(log: Pick<Logger, "warn" | "info">, target: Target, before: Health): void {
  const { health } = target.record;
  const { name, baseUrl } = target.deployment;
  if (health.openings > before.openings)
    log.warn({ deployment: name, url: baseUrl, openings: health.openings }, "Opened the breaker of deployment");
  if (before.openUntilMs > 0 && health.openUntilMs === 0)
    log.info({ deployment: name, url: baseUrl }, "Closed the breaker of deployment");
}
