import type { Database } from "./database.ts";
import type { Journal } from "./journal.ts";
import { toCount, toFact, toPin } from "./rows.ts";
import { pruneApprovals } from "./approval-table.ts";
import { deleteFact } from "./writes.ts";

/** Facts are kept this long for hourly limits. */
const FACT_LIFE_MS = 2 * 3600 * 1000;

type FactMethods = Pick<
  Journal,
  "callsStarted" | "callsInRun" | "callsSince" | "pin" | "factsAfter" | "reserveSequence" | "retract" | "prune"
>;

/** What is counted: limits of tools, usage, and pinned definitions. */
export function factMethods(db: Database): FactMethods {
  return {
    callsStarted: (id) =>
      toCount(db.get("SELECT count(*) AS count FROM call WHERE run_id = ? AND started_at_ms IS NOT NULL", id)),
    callsInRun: (id, { server, tool }) =>
      toCount(
        db.get(
          `SELECT count(*) AS count FROM call WHERE run_id = ? AND server = ? AND tool = ? AND started_at_ms IS NOT NULL`,
          id,
          server,
          tool,
        ),
      ),
    callsSince: (sinceMs, { server, tool }) =>
      toCount(
        db.get("SELECT count(*) AS count FROM fact WHERE server = ? AND tool = ? AND at_ms > ?", server, tool, sinceMs),
      ),
    pin(definition) {
      const known = findPin(db, definition);
      if (known && known.generation >= definition.generation) return known.digest;
      db.run(
        `INSERT INTO pin (server, tool, generation, digest) VALUES (?, ?, ?, ?)
           ON CONFLICT (server, tool) DO UPDATE SET generation = excluded.generation, digest = excluded.digest`,
        definition.server,
        definition.tool,
        definition.generation,
        definition.digest,
      );
      return definition.digest;
    },
    factsAfter: (countIn, sequence) =>
      db
        .all("SELECT * FROM fact WHERE counted_in = ? AND sequence > ? ORDER BY sequence", countIn, sequence)
        .map(toFact),
    reserveSequence: (sequence) =>
      db.transaction(() => {
        const highest = toCount(
          db.get("SELECT coalesce(max(seq), 0) AS count FROM sqlite_sequence WHERE name = 'fact'"),
        );
        if (highest >= sequence) return;
        db.run("DELETE FROM sqlite_sequence WHERE name = 'fact'");
        db.run("INSERT INTO sqlite_sequence (name, seq) VALUES ('fact', ?)", sequence);
      }),
    retract: (fact) => deleteFact(db, fact),
    prune: (nowMs, counted) =>
      db.transaction(() => {
        db.run(
          "DELETE FROM fact WHERE at_ms < ? AND (counted_in <> ? OR sequence <= ?)",
          nowMs - FACT_LIFE_MS,
          counted.countIn,
          counted.sequence,
        );
        const runs = db.run("DELETE FROM run WHERE expires_at_ms <= ? AND status <> 'in_progress'", nowMs);
        pruneApprovals(db, nowMs);
        return runs;
      }),
  };
}

function findPin(
  db: Database,
  { server, tool }: { server: string; tool: string },
): ReturnType<typeof toPin> | undefined {
  const row = db.get("SELECT generation, digest FROM pin WHERE server = ? AND tool = ?", server, tool);
  return row === undefined ? undefined : toPin(row);
}
