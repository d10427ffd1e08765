/**
 * Loaded into the orchestrator's process before its entry: kills it with SIGKILL at the mark that KILL_AT names, without a
 * word of the product knowing. Marks: `before:open:1`, `before:turn:2`, `after:start:1`, … for transactions of the journal
 * (open, turn, park, start, end, finish; counted from 1), `before:count:1` and `after:count:1` for writes of the counter file.
 * FAIL_AT lets the write at its mark fail instead, as on a full disk.
 */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { DatabaseSync, StatementSync } from "node:sqlite";

const wanted = process.env["KILL_AT"] ?? "";
const failing = process.env["FAIL_AT"] ?? "";
const counts = new Map<string, number>();
let statements: string[] = [];

const LABELS: readonly (readonly [RegExp, string])[] = [
  [/INSERT INTO run/, "open"],
  [/INSERT INTO turn/, "turn"],
  [/SET state = 'waiting'/, "park"],
  [/SET state = 'started'/, "start"],
  [/UPDATE call SET state = \?/, "end"],
  [/UPDATE run SET status/, "finish"],
];

function around<T>(label: string | undefined, work: () => T): T {
  if (label === undefined) return work();
  const count = (counts.get(label) ?? 0) + 1;
  counts.set(label, count);
  killIf(`before:${label}:${count}`);
  const result = work();
  killIf(`after:${label}:${count}`);
  return result;
}

function killIf(mark: string): void {
  if (mark === wanted) process.kill(process.pid, "SIGKILL");
  if (mark === failing) throw new Error("ENOSPC: no space left on device");
}

function methodOf(prototype: object, name: string): Function {
  const method: unknown = Reflect.get(prototype, name);
  if (typeof method !== "function") throw new Error(`Cannot watch ${name}`);
  return method;
}

if (wanted !== "" || failing !== "") {
  const run = methodOf(StatementSync.prototype, "run");
  Object.assign(StatementSync.prototype, {
    run(this: StatementSync, ...values: unknown[]): unknown {
      statements.push(this.sourceSQL);
      return Reflect.apply(run, this, values);
    },
  });
  const exec = methodOf(DatabaseSync.prototype, "exec");
  Object.assign(DatabaseSync.prototype, {
    exec(this: DatabaseSync, sql: string): unknown {
      if (sql.startsWith("BEGIN")) statements = [];
      const text = statements.join("\n");
      const label = sql === "COMMIT" ? LABELS.find(([pattern]) => pattern.test(text))?.[1] : undefined;
      return around(label, () => Reflect.apply(exec, this, [sql]));
    },
  });
  const { writeSync } = fs;
  const watched = (handle: number, slot: Uint8Array, ...place: [number, number, number]): number => {
    const isCounters = slot instanceof Uint8Array && slot.byteLength <= 8192;
    const hasCounted = isCounters && /"journalSequence":[1-9]/.test(new TextDecoder().decode(slot));
    return around(hasCounted ? "count" : undefined, () => writeSync(handle, slot, ...place));
  };
  Object.assign(fs, { writeSync: watched });
  syncBuiltinESMExports();
}
