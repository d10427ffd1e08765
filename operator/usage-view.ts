import { z } from "zod";
import type { AgentDeploymentStatus } from "#core/api/agent-deployment-status.ts";
import { BASE_DIMENSIONS } from "#core/usage.ts";
import { POD_USAGES, USAGE_LEDGERS } from "#runtime/kube/resources.ts";
import type { KubeObject, ResourceRef } from "#runtime/kube/types.ts";
import { BY_AGENT, type Cache } from "./cache.ts";

/** It rises every second of every pod: as status it would be written for ever, and tell nothing. */
const NOT_SHOWN = "pod_milliseconds";

const totalsSchema = z.array(z.object({ dimension: z.string(), total: z.string().regex(/^\d+$/) }));
const usageSchema = z.object({
  metadata: z.object({ name: z.string() }),
  spec: z.object({ offerResourceId: z.string() }),
  status: z.object({ totals: totalsSchema }).nullish(),
});
const ledgerSchema = z.object({
  spec: z.object({
    offerResourceId: z.string(),
    settled: z
      .array(z.object({ agent: z.string(), dimension: z.string(), total: z.string().regex(/^\d+$/) }))
      .nullish(),
    tombstones: z.array(z.object({ uid: z.string() })).nullish(),
  }),
});

interface Books {
  readonly offerResourceId: string;
  /** Usage of pods that are gone, by agent and base dimension. */
  readonly settled: ReadonlyMap<string, ReadonlyMap<string, bigint>>;
  /** Pods whose usage is in `settled` although their PodUsage may still be there. */
  readonly tombstones: ReadonlySet<string>;
}

/** A ledger is large and read for every agent: it is parsed once. */
const parsedBooks = new WeakMap<KubeObject, Books | null>();

/** What the agent has used since it was first counted, over living and settled pods, in base units. */
export function observeUsage(
  agent: { readonly key: string },
  context: { readonly caches: (ref: ResourceRef) => Cache; readonly offerResourceId: string },
): Pick<AgentDeploymentStatus, "usage" | "usageSummary"> {
  const { caches, offerResourceId } = context;
  const books = caches(USAGE_LEDGERS)
    .list()
    .map(readBooks)
    .find((candidate) => candidate?.offerResourceId === offerResourceId);
  const totals = new Map(books?.settled.get(agent.key) ?? []);
  const living = caches(POD_USAGES)
    .byIndex(BY_AGENT, agent.key)
    .map((object) => usageSchema.safeParse(object).data)
    .filter((usage) => usage?.spec.offerResourceId === offerResourceId)
    .filter((usage) => !books?.tombstones.has(usage?.metadata.name ?? ""));
  for (const usage of living)
    for (const { dimension, total } of usage?.status?.totals ?? []) add(totals, dimension, total);
  const shown = [...totals].filter(([dimension]) => dimension !== NOT_SHOWN).sort(byDimension);
  if (shown.length === 0) return {};
  return {
    usage: shown.slice(0, 64).map(([dimension, used]) => ({ dimension, used: used.toString() })),
    usageSummary: summarize(totals),
  };
}

function readBooks(ledger: KubeObject): Books | null {
  const known = parsedBooks.get(ledger);
  if (known !== undefined) return known;
  const spec = ledgerSchema.safeParse(ledger).data?.spec;
  const books = spec ? toBooks(spec) : null;
  parsedBooks.set(ledger, books);
  return books;
}

function toBooks(spec: z.output<typeof ledgerSchema>["spec"]): Books {
  const settled = new Map<string, Map<string, bigint>>();
  for (const { agent, dimension, total } of spec.settled ?? []) {
    const totals = settled.get(agent) ?? new Map<string, bigint>();
    settled.set(agent, totals);
    add(totals, dimension, total);
  }
  return {
    offerResourceId: spec.offerResourceId,
    settled,
    tombstones: new Set((spec.tombstones ?? []).map(({ uid }) => uid)),
  };
}

function add(totals: Map<string, bigint>, dimension: string, amount: string): void {
  totals.set(dimension, (totals.get(dimension) ?? 0n) + BigInt(amount));
}

/** For `kubectl get`: runs and tokens, which every agent has. */
function summarize(totals: ReadonlyMap<string, bigint>): string {
  const runs = totals.get("workflow_completed") ?? 0n;
  const tokens = (totals.get("input_tokens") ?? 0n) + (totals.get("output_tokens") ?? 0n);
  return `${runs} runs, ${tokens} tokens`;
}

/** Ours first, in the order in which they are documented. */
function byDimension([a]: readonly [string, bigint], [b]: readonly [string, bigint]): number {
  const rank = (dimension: string): number => {
    const index = BASE_DIMENSIONS.findIndex((base) => base === dimension);
    return index === -1 ? BASE_DIMENSIONS.length : index;
  };
  return rank(a) - rank(b) || (a < b ? -1 : 1);
}
