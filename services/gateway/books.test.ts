import { describe, expect, it } from "vitest";
import { Refusal } from "#core/errors.ts";
import { createAuditLog } from "./audit-log.ts";
import { createBooks, type End } from "./books.ts";

/** Books over a file and a log that tell what happened in which order. */
function createWorld(fails = false) {
  const told: string[] = [];
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
  return { told, books: createBooks(meter, audit), end };
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
    const { told, books, end } = createWorld(true);
    books.close(end(1));
    books.close(end(2));
    await nextTurn();
    const refused = (what: string): string[] => [1, 2].map((id) => `${what} ${id} metering_unavailable`);
    expect(told.slice(2)).toEqual(["commit", ...refused("record"), "write 2", ...refused("answer")]);
  });
});
