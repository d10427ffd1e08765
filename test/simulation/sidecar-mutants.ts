import type { Mutant } from "./mutants.ts";
import type { Moment } from "./strike.ts";

/** A seeded bug of the sidecar, and the strikes that must bring it to light; none where a life without a strike does. */
export interface SidecarMutant extends Mutant {
  readonly strikes?: { readonly moment: Moment; readonly call: string };
}

const CORE = "/services/core";
const SIDECAR = "/services/meter/sidecar";
const RUNTIME = "/services/runtime";

/** What the law of enumerated crashes must see: `sidecar-crashes.test.ts` plays each. */
export const SIDECAR_MUTANTS: readonly SidecarMutant[] = [
  {
    name: "recovery-knows-nothing",
    patches: [
      {
        file: `${SIDECAR}/state-log.ts`,
        find: "journal?.newest ? parseState(journal.newest) : undefined;",
        replace: "journal?.newest ? EMPTY_STATE : undefined;",
      },
      {
        file: `${SIDECAR}/state-log.ts`,
        find: "import { sidecarStateSchema, ",
        replace: "import { EMPTY_STATE, sidecarStateSchema, ",
      },
    ],
  },
  {
    name: "epoch-change-ignored",
    patches: [
      {
        file: `${CORE}/sidecar-fold.ts`,
        find: "return reading.epoch === state.epoch ? foldSameEpoch(state, reading) : foldNewEpoch(state, reading);",
        replace: "return foldSameEpoch(state, reading);",
      },
    ],
  },
  {
    name: "epoch-change-at-every-restart",
    patches: [
      {
        file: `${RUNTIME}/counters.ts`,
        find: "return { ...stored, totals: { ...zeros, ...stored.totals } };",
        replace: "return { ...stored, epoch: randomUUID(), totals: { ...zeros, ...stored.totals } };",
      },
    ],
  },
  {
    name: "boot-id-ignored",
    patches: [
      {
        file: `${RUNTIME}/counters.ts`,
        find: "if (stored?.bootId === options.bootId)",
        replace: "if (stored !== undefined)",
      },
    ],
  },
  {
    name: "final-before-the-last-read",
    patches: [
      {
        file: `${SIDECAR}/sidecar.ts`,
        find: "const last = foldLastRecord(counterFile, work.state);",
        replace: "const last = { state: work.state, record: readCounterFile(counterFile), isWhole: true };",
      },
    ],
  },
  {
    // Found by this law in our own code.
    name: "final-without-the-last-read",
    strikes: { moment: "Fails", call: "readFile" },
    patches: [
      {
        file: `${SIDECAR}/counter-file.ts`,
        find: 'return isMissing ? undefined : "Unreadable";',
        replace: "return undefined;",
      },
    ],
  },
  {
    name: "scrapes-not-logged",
    patches: [
      {
        file: `${SIDECAR}/sidecar.ts`,
        find: "  if (isWorthLogging(before, next)) work.options.stateLog.store(next);\n",
        replace: "",
      },
    ],
  },
  {
    name: "log-not-synced",
    patches: [{ file: `${RUNTIME}/journal.ts`, find: "    fdatasyncSync(handle);\n", replace: "" }],
  },
  {
    name: "torn-log-taken-for-whole",
    strikes: { moment: "DiesWithin", call: "write" },
    patches: [
      {
        file: `${RUNTIME}/journal.ts`,
        find: 'if (left < 0 || length > left) return { newest, condition: "Torn" };',
        replace: 'if (left < 0 || length > left) return { newest: undefined, condition: "Whole" };',
      },
    ],
  },
  {
    name: "hour-forgotten-by-a-restart",
    strikes: { moment: "DiesBefore", call: "scrape" },
    patches: [
      {
        file: `${SIDECAR}/state-log.ts`,
        find: "journal?.newest ? parseState(journal.newest) : undefined;",
        replace: "journal?.newest ? forget(parseState(journal.newest)) : undefined;",
      },
      {
        file: `${SIDECAR}/state-log.ts`,
        find: "function parseState(",
        replace:
          'function forget(state: SidecarState | undefined): SidecarState | undefined {\n  return state && { ...state, hour: "" };\n}\n\nfunction parseState(',
      },
    ],
  },
  {
    name: "log-lost-epoch-recounted",
    strikes: { moment: "DiesWithLog", call: "scrape" },
    patches: [
      { file: `${CORE}/sidecar-fold.ts`, find: '    epoch: status.epoch ?? "",\n', replace: '    epoch: "",\n' },
    ],
  },
];
