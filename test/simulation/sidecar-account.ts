import type { PodUsageStatus } from "#core/api/pod-usage.ts";

/** What is known of a pod's life beforehand. */
interface AccountTerms {
  readonly dimensions: readonly string[];
  /** Ended hours, oldest first, and the second of the life at which each ended. */
  readonly hourEnds: Readonly<Record<string, number>>;
  /** K + S. */
  readonly windowSeconds: number;
  /** The log may be gone or unwritten, so that a reboot may take what was not published. */
  readonly mayLose: boolean;
}

interface Write {
  readonly before: PodUsageStatus | undefined;
  readonly after: PodUsageStatus;
  /** How long the pod lives. */
  readonly livedMs: number;
  readonly isEnding: boolean;
}

type Totals = readonly { readonly dimension: string; readonly total: string }[];

/** The API server tells the time in whole seconds. */
const DATE_MS = 1000;

/** What a pod really used, to the unit, and what is wrong with what its sidecar said of it. */
export class PodAccount {
  readonly problems: string[] = [];
  readonly #terms: AccountTerms;
  readonly #uses: { readonly atSeconds: number; readonly dimension: string; readonly amount: bigint }[] = [];
  /** What reboots have taken with them. */
  readonly #lost = new Map<string, bigint>();

  constructor(terms: AccountTerms) {
    this.#terms = terms;
  }

  use(atSeconds: number, amounts: Readonly<Record<string, bigint>>): void {
    for (const [dimension, amount] of Object.entries(amounts)) this.#uses.push({ atSeconds, dimension, amount });
  }

  /** At every write: nothing falls, nothing is invented, ended hours stand, and `final` means that all is in it. */
  judgeWrite({ before, after, livedMs, isEnding }: Write): void {
    for (const dimension of this.#terms.dimensions) {
      const total = totalOf(after.totals, dimension);
      const used = this.#usedIn(dimension);
      this.#expect(total <= used, `I1: ${dimension} counted ${total} of ${used} used`);
      this.#expect(total >= totalOf(before?.totals, dimension), `I5: ${dimension} fell to ${total}`);
    }
    const lived = totalOf(after.totals, "pod_milliseconds");
    this.#expect(lived <= BigInt(livedMs + DATE_MS), `I1: ${lived} pod_milliseconds of ${livedMs}`);
    for (const { hour, totals } of after.boundaries ?? []) this.#judgeHour(hour, totals);
    if (after.final !== "Yes") return;
    this.#expect(isEnding, "final before the end");
    this.#expectAll(after.totals, Infinity);
  }

  /**
   * A reboot is an end without grace, row 3: it may take what was used within K + S. With the log whole it takes nothing, and
   * to what it took no later fault may add.
   */
  noteReboot(status: PodUsageStatus | undefined, atSeconds: number): void {
    const sinceSeconds = this.#terms.mayLose ? atSeconds - this.#terms.windowSeconds : atSeconds;
    for (const dimension of this.#terms.dimensions) {
      const lost = this.#usedIn(dimension) - totalOf(status?.totals, dimension);
      const allowed = this.#usedIn(dimension, atSeconds) - this.#usedIn(dimension, sinceSeconds);
      this.#expect(lost - this.#lostOf(dimension) <= allowed, `I7: ${dimension} lost ${lost} at a reboot`);
      this.#lost.set(dimension, lost);
    }
  }

  /** The end with a last word, which holds all; or cut short at a second, which may cost K + S (I7). */
  judgeEnd(status: PodUsageStatus | undefined, cutAtSeconds: number | undefined): void {
    const { hourEnds, windowSeconds } = this.#terms;
    if (cutAtSeconds === undefined) this.#expect(status?.final === "Yes", "no last word");
    this.#expectAll(status?.totals, cutAtSeconds === undefined ? Infinity : cutAtSeconds - windowSeconds);
    const hours = (status?.boundaries ?? []).map(({ hour }) => hour).join();
    this.#expect(hours === Object.keys(hourEnds).join(), `the ring holds ${hours}`);
  }

  /** What stands at the end of an hour is what was used until then, to the unit. */
  #judgeHour(hour: string, totals: Totals): void {
    const endSeconds = this.#terms.hourEnds[hour];
    if (endSeconds === undefined) return this.#expect(false, `hour ${hour} has not ended`);
    for (const dimension of this.#terms.dimensions) {
      const total = totalOf(totals, dimension);
      const used = this.#usedIn(dimension, endSeconds);
      // Reboots come after the first hours and before the last.
      const isAfterLoss = hour === Object.keys(this.#terms.hourEnds).at(-1);
      const expected = used - (isAfterLoss ? this.#lostOf(dimension) : 0n);
      this.#expect(total === expected, `hour ${hour} ended with ${total} of ${used} ${dimension}`);
    }
  }

  #expectAll(totals: Totals | undefined, untilSeconds: number): void {
    for (const dimension of this.#terms.dimensions) {
      const total = totalOf(totals, dimension);
      const used = this.#usedIn(dimension, untilSeconds);
      this.#expect(total + this.#lostOf(dimension) >= used, `I7: ${dimension} ended with ${total} of ${used} used`);
    }
  }

  #expect(isTrue: boolean, problem: string): void {
    if (!isTrue) this.problems.push(problem);
  }

  #lostOf(dimension: string): bigint {
    return this.#lost.get(dimension) ?? 0n;
  }

  #usedIn(dimension: string, untilSeconds = Infinity): bigint {
    return this.#uses
      .filter((use) => use.dimension === dimension && use.atSeconds < untilSeconds)
      .reduce((sum, { amount }) => sum + amount, 0n);
  }
}

function totalOf(totals: Totals | undefined, dimension: string): bigint {
  return BigInt(totals?.find((entry) => entry.dimension === dimension)?.total ?? "0");
}
