import { approvalMethods } from "./approval-table.ts";
import { callMethods } from "./call-table.ts";
import { openDatabase } from "./database.ts";
import { factMethods } from "./fact-table.ts";
import type { Journal } from "./journal.ts";
import { runMethods } from "./run-table.ts";

/**
 * Opens or creates the journal of one replica. WAL with synchronous=FULL: a commit is on disk when it returns.
 * Throws when the file is of a newer version or cannot be opened.
 */
export function openSqliteJournal(file: string): Journal {
  const db = openDatabase(file);
  return {
    ...runMethods(db),
    ...callMethods(db),
    ...approvalMethods(db),
    ...factMethods(db),
    close: () => db.close(),
  };
}
