import { describe, expect, it } from "vitest";
import { Refusal } from "#core/errors.ts";
import { createFakeClock } from "../../../test/fakes/clock.ts";
import { createAuditLog } from "../telemetry/audit-log.ts";
import { createBooks, type End } from "./books.ts";

/** Books over a file and a log that tell what happened in which order. */
function createWorld({ fails = false, inFlight = 0 } = {}) {
  const told: string[] = [];
  const clock = createFakeClock();
  const meter = {
    stage: (usage: Readonly<Record<string, bigint>>): void => void told.push(`stage ${usage["output_tokens"]}`),
    commit(): void {
      told.push("commit");
      if (fails) throw new Refusal("metering_unavailable", "Cannot answer as usage could not be written down");
    },
  };
  const audit = createAuditLog(
    { write: (lines) => void told.push(`write ${lines.split("\n").length - 1}`) },
    { now: () => 0 },
  );
  const end = (id: number): End => ({
    usage: { output_tokens: BigInt(id) },
    record(refusal) {
      told.push(`record ${id} ${refusal?.code ?? "ok"}`);
      audit.add({ requestId: `${id}` }, "Answered request");
    },
    answer: (refusal) => void told.push(`answer ${id} ${refusal?.code ?? "ok"}`),
  });
  return { told, clock, books: createBooks({ meter, audit, clock, inFlight: () => inFlight }), end };
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("createBooks()", () => {
  it("stages at once, then counts, audits and answers all requests of a turn, with one write each", async () => {
    const { told, books, end } = createWorld();
    books.close(end(1));
    books.close(end(2));
    expect(told).toEqual(["stage 1", "stage 2"]);
    await nextTurn();
    expect(told.slice(2)).toEqual(["commit", "record 1 ok", "record 2 ok", "write 2", "answer 1 ok", "answer 2 ok"]);
    books.close(end(3));
    await nextTurn();
    expect(told.slice(8)).toEqual(["stage 3", "commit", "record 3 ok", "write 1", "answer 3 ok"]);
  });

  it("tells every request of the turn when they could not be counted, and audits them all the same", async () => {
    const { told, books, end } = createWorld({ fails: true });
    books.close(end(1));
    books.close(end(2));
    await nextTurn();
    const refused = (what: string): string[] => [1, 2].map((id) => `${what} ${id} metering_unavailable`);
    expect(told.slice(2)).toEqual(["commit", ...refused("record"), "write 2", ...refused("answer")]);
  });

  it("lets the last bytes of streams wait for others in a crowd, and not when few are in flight or another cannot", async () => {
    const alone = createWorld();
    alone.books.close({ ...alone.end(1), mayWait: true });
    await nextTurn();
    expect(alone.told.at(-1)).toBe("answer 1 ok");
    const crowd = createWorld({ inFlight: 100 });
    crowd.books.close({ ...crowd.end(1), mayWait: true });
    await nextTurn();
    expect(crowd.told).toEqual(["stage 1"]);
    await crowd.clock.advance(1);
    expect(crowd.told.at(-1)).toBe("answer 1 ok");
    crowd.books.close({ ...crowd.end(2), mayWait: true });
    crowd.books.close(crowd.end(3));
    await nextTurn();
    expect(crowd.told.slice(-2)).toEqual(["answer 2 ok", "answer 3 ok"]);
  });
});
