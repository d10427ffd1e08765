import type { IncomingMessage } from "node:http";

export type Door = "ApiServer" | "Marketplace";

/** One request on its way. */
export interface Passage {
  readonly door: Door;
  readonly method: string;
  readonly path: string;
  readonly body: string;
}

export interface CatchRule {
  readonly door: Door;
  readonly method: string;
  readonly path: RegExp;
  readonly body?: RegExp;
  /** Before: it has not arrived. After: it is done, its answer is not. */
  readonly when: "Before" | "After";
}

/** A request that waits in our hand. Each of the three ways may be taken once. */
export interface Catch {
  /** Resolves when a request was caught. Rejects after a minute without one; what fits later then passes. */
  readonly arrived: Promise<Passage>;
  /** Lets it go on as if nothing had been. */
  pass(): void;
  /** Breaks the client's connection: the request (Before) or its answer (After) is lost for ever. */
  cut(): void;
  /** Sends a request that was cut before it arrived, now. Returns what the server says to it. */
  land(): Promise<string>;
}

interface Hands {
  readonly send: () => Promise<IncomingMessage>;
  readonly cut: () => void;
}

/** A catch as the wire sees it. */
interface Hold {
  readonly when: CatchRule["when"];
  hold(passage: Passage, hands: Hands): Promise<"Pass" | "Cut">;
}

export interface Snare {
  catchNext(rule: CatchRule): Catch;
  /** The oldest catch that waits for such a request; it will not be found again. */
  find(passage: Passage): Hold | undefined;
}

const WAIT_MS = 60_000;

/** Holds requests by rules. */
export function createSnare(): Snare {
  const waiting: { readonly rule: CatchRule; readonly hold: Hold }[] = [];
  return {
    catchNext(rule) {
      const { hold, caught } = createCatch(rule);
      waiting.push({ rule, hold });
      return caught;
    },
    find(passage) {
      const index = waiting.findIndex(({ rule }) => fits(rule, passage));
      return index < 0 ? undefined : waiting.splice(index, 1)[0]?.hold;
    },
  };
}

function createCatch(rule: CatchRule): { readonly hold: Hold; readonly caught: Catch } {
  const arrival = Promise.withResolvers<Passage>();
  const decision = Promise.withResolvers<"Pass" | "Cut">();
  const what = `${rule.method} ${String(rule.path)} ${String(rule.body ?? "")}`;
  const timer = setTimeout(() => {
    arrival.reject(new Error(`No request came in time: ${what}`));
    decision.resolve("Pass");
  }, WAIT_MS);
  arrival.promise.catch(() => undefined);
  let hands: Hands | undefined;
  return {
    hold: {
      when: rule.when,
      hold(passage, given) {
        clearTimeout(timer);
        hands = given;
        arrival.resolve(passage);
        return decision.promise;
      },
    },
    caught: {
      arrived: arrival.promise,
      pass: () => decision.resolve("Pass"),
      cut() {
        hands?.cut();
        decision.resolve("Cut");
      },
      async land() {
        if (!hands) throw new Error(`Cannot land a request that was not caught: ${what}`);
        const answer = await hands.send();
        const chunks: Buffer[] = [];
        for await (const chunk of answer) chunks.push(Buffer.from(chunk));
        return Buffer.concat(chunks).toString("utf8");
      },
    },
  };
}

function fits(rule: CatchRule, passage: Passage): boolean {
  return (
    rule.door === passage.door &&
    rule.method === passage.method &&
    rule.path.test(passage.path) &&
    (rule.body === undefined || rule.body.test(passage.body))
  );
}
