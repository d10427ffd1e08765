/** A seeded bug: places in the product's source that are replaced when it is loaded. The product has no switch for it. */
export interface Mutant {
  readonly name: string;
  readonly patches: readonly { readonly file: string; readonly find: string; readonly replace: string }[];
}

const CORE = "/services/core";
const REPORTER = "/services/meter/reporter";

/** The seeded bugs of docs/metering.md, in its order. */
export const MUTANTS: readonly Mutant[] = [
  {
    // What is due is sent first and reserved afterwards.
    name: "no-intent-before-the-post",
    patches: [
      {
        file: `${REPORTER}/close.ts`,
        find: "  const written = await swapLedger(desk, { value: next, version: ledger.version });\n",
        replace:
          "  const early = openSlots(next).filter((slot) => slot.hour === hour);\n" +
          "  if (early.length > 0) await desk.marketplace.post(early.map((slot) => toStatement(next, slot, desk.terms.catalogue).intent));\n" +
          "  const written = await swapLedger(desk, { value: next, version: ledger.version });\n",
      },
      {
        file: `${REPORTER}/close.ts`,
        find: 'import { openSlots } from "#core/ledger.ts";',
        replace: 'import { openSlots } from "#core/ledger.ts";\nimport { toStatement } from "#core/statement.ts";',
      },
    ],
  },
  {
    // A repeat sends what is due by now.
    name: "quantity-recomputed-on-retry",
    patches: [
      {
        file: `${REPORTER}/post.ts`,
        find: "  const answers = await desk.marketplace.post(sheets.map((sheet) => sheet.value.intent));\n",
        replace:
          "  const pods = (await desk.books.listPodUsages()).map(toPodView);\n" +
          "  const answers = await desk.marketplace.post(sheets.map((sheet) => {\n" +
          "    const { intent, attempts } = sheet.value;\n" +
          "    const account = ledger.accounts.find((entry) => entry.dimension === intent.dimension);\n" +
          "    if (!account || attempts.count === 0) return intent;\n" +
          "    const fresh = dueAt(account, { ledger, pods, hour: '9999123123' }) - acceptedOf(account);\n" +
          "    return { ...intent, quantity: (fresh / BigInt(intent.divisor)).toString() };\n" +
          "  }));\n",
      },
      {
        file: `${REPORTER}/post.ts`,
        find: 'import { backoffDelayMs } from "#runtime/retry.ts";',
        replace:
          'import { backoffDelayMs } from "#runtime/retry.ts";\n' +
          'import { toPodView } from "#core/counted.ts";\nimport { acceptedOf } from "#core/ledger.ts";\nimport { dueAt } from "#core/overage.ts";',
      },
    ],
  },
  {
    name: "carry-on-error",
    patches: [
      {
        file: `${CORE}/outcome.ts`,
        find: '  return { next: "retry" };\n}',
        replace: `  return ${nothingAccepted()};\n}`,
      },
    ],
  },
  {
    // What died without an answer is carried on as if it had not been booked.
    name: "no-get-for-dead-unknowns",
    patches: [
      {
        file: `${REPORTER}/reconcile.ts`,
        find: 'await desk.marketplace.list(days[0] ?? "")',
        replace:
          'desk.memory.reconciled ? { ok: true as const, rows: [] } : await desk.marketplace.list(days[0] ?? "")',
      },
    ],
  },
  {
    name: "no-reconciliation-after-a-restore",
    patches: [
      { file: `${REPORTER}/desk.ts`, find: "    reconciled: false,\n", replace: "    reconciled: true,\n" },
      {
        file: `${REPORTER}/open-ledger.ts`,
        find: '"Found a restored UsageLedger");\n  desk.memory.reconciled = false;',
        replace: '"Found a restored UsageLedger");\n  desk.memory.reconciled = true;',
      },
      {
        file: `${REPORTER}/open-ledger.ts`,
        find: "  desk.memory.term = ledger.term;\n  desk.memory.reconciled = false;",
        replace: "  desk.memory.term = ledger.term;\n  desk.memory.reconciled = true;",
      },
    ],
  },
  {
    name: "intended-instead-of-accepted-credited",
    patches: [
      {
        file: `${CORE}/outcome.ts`,
        find: "  const acceptedBaseUnits = toBaseUnits(quantity, intent.divisor);\n  const same",
        replace: "  const acceptedBaseUnits = intent.quantity * intent.divisor;\n  const same",
      },
    ],
  },
  {
    // The statement comes first, so whoever finds one that the ledger does not know finishes it.
    name: "statement-before-ledger",
    patches: [
      {
        file: `${REPORTER}/close.ts`,
        find: "  const written = await swapLedger(desk, { value: next, version: ledger.version });\n",
        replace:
          "  for (const slot of openSlots(next).filter((entry) => entry.hour === hour))\n" +
          "    await desk.books.createStatement(toStatement(next, slot, desk.terms.catalogue));\n" +
          "  const written = await swapLedger(desk, { value: next, version: ledger.version });\n",
      },
      {
        file: `${REPORTER}/close.ts`,
        find: 'import { openSlots } from "#core/ledger.ts";',
        replace: 'import { openSlots } from "#core/ledger.ts";\nimport { toStatement } from "#core/statement.ts";',
      },
      {
        file: `${REPORTER}/post.ts`,
        find: "  const due = openSlots(found.value).filter((slot) => isDue(desk, slot));\n",
        replace:
          "  const known = new Set(openSlots(found.value).map(slotKey));\n" +
          "  const orphans = (await desk.books.listStatements()).filter(({ intent, outcome }) => !outcome && !known.has(slotKey(intent)));\n" +
          "  const accounts = found.value.accounts.map((account) => ({ ...account, reservations: [...account.reservations,\n" +
          "    ...orphans.filter(({ intent }) => intent.dimension === account.dimension).map(({ intent }) => ({ hour: intent.hour, planId: intent.planId, quantity: intent.quantity, divisor: intent.divisor }))] }));\n" +
          "  if (orphans.length > 0) await trySwapLedger(desk, { value: { ...found.value, accounts }, version: found.version });\n" +
          "  const due = openSlots({ ...found.value, accounts }).filter((slot) => isDue(desk, slot));\n",
      },
    ],
  },
  {
    name: "expired-believed-at-once",
    patches: [
      {
        file: `${CORE}/outcome.ts`,
        find: '  if (answer.status === "Expired") return expiredVerdict(intent, at);',
        replace: `  if (answer.status === "Expired") return ${nothingAccepted()};`,
      },
    ],
  },
  {
    name: "slot-released-before-it-is-dead",
    patches: [
      {
        file: `${CORE}/ledger.ts`,
        find: "const SLOT_DEAD_MS = 25 * HOUR_MS + LIST_LAG_MS;",
        replace: "const SLOT_DEAD_MS = 22 * HOUR_MS;",
      },
    ],
  },
  {
    name: "credit-not-tied-to-the-reservation",
    patches: [
      {
        file: `${CORE}/ledger.ts`,
        find: "  if (!found) return ledger;\n  const { account, reservation } = found;\n",
        replace:
          "  const bare = ledger.accounts.find((entry) => entry.dimension === credit.dimension);\n" +
          "  if (!found && bare)\n" +
          "    return { ...ledger, accounts: replaceAccount(ledger.accounts, addAccepted(bare, dayOf(credit.hour), { ...credit, baseUnits: credit.acceptedBaseUnits })) };\n" +
          "  if (!found) return ledger;\n  const { account, reservation } = found;\n",
      },
    ],
  },
  {
    name: "day-compared-while-a-slot-is-live",
    patches: [
      {
        file: `${CORE}/reconcile.ts`,
        find: "  const isLive = open.some((entry) => !isDead(entry.hour, input.nowMs));\n",
        replace: "  const isLive = false;\n",
      },
    ],
  },
  {
    name: "last-slot-not-raised-after-a-rollback",
    patches: [
      {
        file: `${REPORTER}/reconcile.ts`,
        find: "isRolledBack ? raiseLastSlots(result.ledger, desk.now()) : result.ledger",
        replace: "result.ledger",
      },
    ],
  },
  {
    name: "reset-guessed-from-a-drop",
    patches: [
      {
        file: `${CORE}/sidecar-fold.ts`,
        find: "  return reading.epoch === state.epoch ? foldSameEpoch(state, reading) : foldNewEpoch(state, reading);",
        replace:
          "  const fell = Object.entries(state.last).some(([dimension, last]) => (reading.counters.get(dimension) ?? 0n) < BigInt(last));\n" +
          "  return reading.epoch === state.epoch && !fell ? foldSameEpoch(state, reading) : foldNewEpoch(state, reading);",
      },
    ],
  },
  {
    name: "pod-counted-live-and-settled",
    patches: [
      {
        file: `${CORE}/counted.ts`,
        find: "  return pods.filter((pod) => !settled.has(pod.uid));",
        replace: "  return pods.filter((pod) => !settled.has(pod.uid) || true);",
      },
    ],
  },
  {
    name: "tombstone-dropped",
    patches: [
      {
        file: `${CORE}/settle.ts`,
        find: "    tombstones: [...ledger.tombstones.filter((entry) => entry !== earlier), tombstone],\n",
        replace: "    tombstones: ledger.tombstones.filter((entry) => entry !== earlier && entry !== tombstone),\n",
      },
    ],
  },
  {
    name: "400-as-success",
    patches: [
      {
        file: `${CORE}/outcome.ts`,
        find: "  if (PARKING.has(answer.status))\n",
        replace:
          "  if (PARKING.has(answer.status)) return acceptedVerdict(intent, answer);\n  if (PARKING.has(answer.status))\n",
      },
    ],
  },
  {
    name: "409-as-failure",
    patches: [
      {
        file: `${CORE}/outcome.ts`,
        find: '  if (answer.status === "Duplicate") return duplicateVerdict(intent, answer);',
        replace: `  if (answer.status === "Duplicate") return ${nothingAccepted()};`,
      },
    ],
  },
  {
    name: "batch-matched-by-index",
    patches: [
      {
        file: `${REPORTER}/marketplace-answers.ts`,
        find: "    return intents.map((intent) => {\n      const item = batch.data.result.find((candidate) => isAbout(candidate, intent));",
        replace: "    return intents.map((intent, index) => {\n      const item = batch.data.result[index];",
      },
    ],
  },
  {
    // The included quantity is whole again when somebody notices, not when the hour of the usage says so.
    name: "refill-on-an-event",
    patches: [
      {
        file: `${CORE}/close-hour.ts`,
        find: "  const anchored = { hour: closing.hour, anchorMs: Date.parse(ledger.anchor) };",
        replace:
          "  const noticed = new Date(closing.nowMs).toISOString().replace(/[-T]/g, '').slice(0, 10);\n" +
          "  const anchored = { hour: noticed, anchorMs: Date.parse(ledger.anchor) };",
      },
    ],
  },
  {
    name: "month-added-to-the-last-period",
    patches: [
      {
        file: `${CORE}/time.ts`,
        find: '  const step = per === "Month" ? 1 : 12;\n',
        replace:
          '  const step = per === "Month" ? 1 : 12;\n' +
          "  for (let startMs = anchorMs; ; ) {\n" +
          "    const endMs = addMonths(startMs, step);\n" +
          "    if (endMs > instantMs) return { startMs, endMs };\n" +
          "    startMs = endMs;\n" +
          "  }\n",
      },
    ],
  },
  {
    // The hour of somebody's wall clock, an hour east.
    name: "local-time",
    patches: [
      {
        file: `${CORE}/statement.ts`,
        find: "effectiveStartTime: toIso(parseHourKey(reservation.hour)),",
        replace: "effectiveStartTime: toIso(parseHourKey(reservation.hour) - 3_600_000),",
      },
    ],
  },
  {
    name: "zero-posted",
    patches: [
      {
        file: `${CORE}/close-hour.ts`,
        find: "  if (quantity <= 0n || !maySubmit(account, closing)) return WAIT;",
        replace: "  if (quantity < 0n || !maySubmit(account, closing)) return WAIT;",
      },
    ],
  },
  {
    // A ceiling on the total, spent as if it were so much more from the moment it was read.
    name: "lease-as-an-amount",
    patches: [
      {
        file: "/services/runtime/holds.ts",
        find: "  const heldOf = (dimension: string): bigint => held.get(dimension) ?? 0n;\n",
        replace:
          "  const heldOf = (dimension: string): bigint => held.get(dimension) ?? 0n;\n" +
          "  const starts = new Map<string, bigint>();\n" +
          "  const spentOf = (dimension: string, upTo: string): bigint => {\n" +
          "    const lease = `${dimension} ${upTo}`;\n" +
          "    if (!starts.has(lease)) starts.set(lease, options.total(dimension));\n" +
          "    return options.total(dimension) - (starts.get(lease) ?? 0n);\n" +
          "  };\n",
      },
      {
        file: "/services/runtime/holds.ts",
        find: "options.total(dimension) + heldOf(dimension) + amount <= BigInt(upTo)",
        replace: "spentOf(dimension, upTo) + heldOf(dimension) + amount <= BigInt(upTo)",
      },
    ],
  },
  {
    name: "new-leader-grants-without-restamping",
    patches: [
      {
        file: `${REPORTER}/grants.ts`,
        find: "input.pods.filter((pod) => !isStamped(desk, pod, terms.term))",
        replace: "input.pods.filter((pod) => desk.memory.leases.doubts.has(pod.metadata.name))",
      },
    ],
  },
  {
    name: "log-lost-epoch-recounted",
    patches: [
      { file: `${CORE}/sidecar-fold.ts`, find: '    epoch: status.epoch ?? "",\n', replace: '    epoch: "",\n' },
    ],
  },
];

/** The verdict of an adapter that takes an answer for a definite no, and carries the quantity to the next hour. */
function nothingAccepted(): string {
  return '{ next: "credit", state: "Unknown", acceptedQuantity: "0", acceptedBaseUnits: 0n, usageEventId: undefined, usageResourceId: undefined }';
}

/** The mutant of a name; nothing for no name. Throws for an unknown one. */
export function findMutant(name: string | undefined): Mutant | undefined {
  if (name === undefined) return undefined;
  const found = MUTANTS.find((mutant) => mutant.name === name);
  if (found) return found;
  const names = MUTANTS.map((mutant) => mutant.name).join(", ");
  throw new Error(`Cannot play mutant as its name must be one of ${names}: current value is ${name}`);
}
