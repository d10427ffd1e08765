import { z } from "zod";
import { type PodUsage, podUsageSchema } from "#core/api/pod-usage.ts";
import { type Ledger, usageLedgerSchema } from "#core/api/usage-ledger.ts";
import { usageStatementSchema, type UsageStatement } from "#core/api/usage-statement.ts";
import type { Catalogue } from "#core/plan.ts";
import { HOUR_MS, parseHourKey } from "#core/time.ts";
import type { AzureControl } from "./azure-control.ts";
import { readCatalogue } from "./catalogue.ts";
import { type Kubectl, waitFor } from "./kubectl.ts";
import { DEMO } from "./names.ts";

/** One Marketplace dimension: what was counted in the cluster and what the Marketplace accepted, in base units. */
export interface AccountRow {
  readonly dimension: string;
  readonly unit: string;
  readonly divisor: bigint;
  readonly counted: bigint;
  readonly accepted: bigint;
}

/** The books as the cluster's own objects tell them. */
export interface Account {
  readonly rows: readonly AccountRow[];
  readonly statements: readonly UsageStatement[];
  /** YYYYMMDDhh; nothing before the first ledger. */
  readonly lastClosedHour: string | undefined;
  /** Present while nothing may be posted: Azure's list must be read twice, an hour apart. */
  readonly confirmation: Ledger["confirmation"];
}

const listOf = <T extends z.ZodType>(item: T) => z.object({ items: z.array(item) });

/** Reads PodUsage, UsageLedger and UsageStatement and adds them up per dimension of the demo's plan. */
export async function readAccount(kubectl: Kubectl): Promise<Account> {
  const { usages, ledgers, statements } = await readBooks(kubectl, DEMO.resourceId);
  const settled = new Set(ledgers.flatMap((ledger) => ledger.spec.tombstones.map((tombstone) => tombstone.uid)));
  const counted = sumByDimension([
    ...ledgers.flatMap((ledger) => ledger.spec.settled),
    ...usages.filter((usage) => !settled.has(usage.metadata.name)).flatMap((usage) => usage.status?.totals ?? []),
  ]);
  const accepted = sumByDimension(
    statements.map(({ spec }) => ({
      dimension: spec.intent.dimension,
      total: spec.outcome?.acceptedBaseUnits ?? "0",
    })),
  );
  const rows = demoDimensions(readCatalogue()).map((dimension) => ({
    dimension: dimension.id,
    unit: dimension.unit,
    divisor: BigInt(dimension.divisor),
    counted: counted.get(dimension.from) ?? 0n,
    accepted: accepted.get(dimension.id) ?? 0n,
  }));
  const spec = ledgers[0]?.spec;
  return { rows, statements, lastClosedHour: spec?.lastClosedHour, confirmation: spec?.confirmation };
}

/** The money objects of one offer resource. */
export interface BookObjects {
  readonly usages: readonly PodUsage[];
  readonly ledgers: readonly { readonly spec: Ledger }[];
  readonly statements: readonly UsageStatement[];
}

/** Every PodUsage, UsageLedger and UsageStatement of an offer resource. */
export async function readBooks(kubectl: Kubectl, resourceId: string): Promise<BookObjects> {
  const usages = listOf(podUsageSchema).parse(await kubectl.json(["get", "podusages", "--all-namespaces"])).items;
  const ledgers = listOf(usageLedgerSchema).parse(await kubectl.json(["get", "usageledgers"])).items;
  const statements = listOf(usageStatementSchema).parse(await kubectl.json(["get", "usagestatements"])).items;
  return {
    usages: usages.filter(({ spec }) => spec.offerResourceId === resourceId),
    ledgers: ledgers.filter(({ spec }) => spec.offerResourceId === resourceId),
    statements: statements.filter(({ spec }) => spec.intent.offerResourceId === resourceId),
  };
}

function sumByDimension(
  totals: readonly { readonly dimension: string; readonly total: string }[],
): Map<string, bigint> {
  const sums = new Map<string, bigint>();
  for (const { dimension, total } of totals) sums.set(dimension, (sums.get(dimension) ?? 0n) + BigInt(total));
  return sums;
}

/** Whether that hour is closed and every slot so far has its answer. */
export function isClosed(account: Account, hour: string): boolean {
  return (account.lastClosedHour ?? "") >= hour && account.statements.every((statement) => statement.spec.outcome);
}

/** Moves the emulator's clock to where the books are: it forgets its offset when it restarts, they do not. */
export async function catchUpClock(kubectl: Kubectl, azure: AzureControl): Promise<void> {
  const { lastClosedHour } = await readAccount(kubectl);
  if (lastClosedHour !== undefined) await azure.catchUp(parseHourKey(lastClosedHour) + HOUR_MS);
}

/** Lets the hour pass, on the emulator's clock, between the two readings of Azure's list that the books wait for, if they do. */
export async function passConfirmation(
  azure: Pick<AzureControl, "passHourAfter">,
  books: Pick<Ledger, "confirmation">,
): Promise<void> {
  const listedAt = books.confirmation?.listedAt;
  if (listedAt !== undefined) await azure.passHourAfter(Date.parse(listedAt));
}

/** Waits until there are books of that resource, and they may post. */
export async function waitForBooks(
  kubectl: Kubectl,
  azure: Pick<AzureControl, "passHourAfter">,
  resourceId: string = DEMO.resourceId,
): Promise<void> {
  await waitFor(
    async () => {
      const [ledger] = (await readBooks(kubectl, resourceId)).ledgers;
      if (!ledger) return undefined;
      await passConfirmation(azure, ledger.spec);
      return ledger.spec.confirmation === undefined || undefined;
    },
    { what: "the ledger to be compared with Azure's list, twice", timeoutSeconds: 180 },
  );
}

/** Whether every whole unit counted is accepted, and nothing else: accepted == floor(counted / divisor) × divisor. */
export function addsUp(rows: readonly AccountRow[]): boolean {
  return rows.every((row) => row.accepted === (row.counted / row.divisor) * row.divisor);
}

/** The table for people. */
export function renderAccount(rows: readonly AccountRow[]): string {
  const lines = rows.map((row) => {
    const rest = row.counted - row.accepted;
    return [
      row.dimension.padEnd(20),
      String(row.counted).padStart(10),
      `${row.accepted / row.divisor} × ${row.unit}`.padEnd(24),
      rest === 0n ? "" : `${rest} base units carried to the next hour`,
    ].join("  ");
  });
  return ["dimension                counted  accepted", ...lines].join("\n");
}

function demoDimensions(catalogue: Catalogue): Catalogue["dimensions"] {
  const sold = catalogue.plans.find((plan) => plan.id === DEMO.plan)?.dimensions.map((dimension) => dimension.id) ?? [];
  return catalogue.dimensions.filter((dimension) => sold.includes(dimension.id));
}
