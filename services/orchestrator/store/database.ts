import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";
import { APPROVAL_TABLES, JOURNAL_TABLES, JOURNAL_VERSION } from "./schema.ts";

/** Another process of the same volume (a pod that ends) may hold the lock for a moment. */
const BUSY_TIMEOUT_MS = 5000;

type Values = readonly SQLInputValue[];

/** Prepared statements and transactions on one connection. */
export interface Database {
  run(sql: string, ...values: Values): number;
  get(sql: string, ...values: Values): unknown;
  all(sql: string, ...values: Values): unknown[];
  /** All or nothing, durable when it returns; `work` must not wait for anything. */
  transaction<T>(work: () => T): T;
  close(): void;
}

/** Opens or creates the file. Throws when its tables are of a newer version. */
export function openDatabase(file: string): Database {
  const connection = new DatabaseSync(file);
  connection.exec(
    `PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
     PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;`,
  );
  createTables(connection, file);
  const statements = new Map<string, StatementSync>();
  const prepare = (sql: string): StatementSync => {
    const statement = statements.get(sql) ?? connection.prepare(sql);
    statements.set(sql, statement);
    return statement;
  };
  return {
    run: (sql, ...values) => Number(prepare(sql).run(...values).changes),
    get: (sql, ...values) => prepare(sql).get(...values),
    all: (sql, ...values) => prepare(sql).all(...values),
    transaction: (work) => inTransaction(connection, work),
    close: () => connection.close(),
  };
}

function inTransaction<T>(connection: DatabaseSync, work: () => T): T {
  connection.exec("BEGIN IMMEDIATE");
  try {
    const result = work();
    connection.exec("COMMIT");
    return result;
  } catch (error) {
    if (connection.isTransaction) connection.exec("ROLLBACK");
    throw error;
  }
}

function createTables(connection: DatabaseSync, file: string): void {
  inTransaction(connection, () => {
    const row = connection.prepare("PRAGMA user_version").get();
    const version = Number(row?.["user_version"] ?? 0);
    if (version === JOURNAL_VERSION) return;
    if (version > JOURNAL_VERSION)
      throw new Error(`Cannot open ${file} as its version must be <= ${JOURNAL_VERSION}: current value is ${version}`);
    const first = version === 0 ? JOURNAL_TABLES : "";
    connection.exec(`${first} ${APPROVAL_TABLES} PRAGMA user_version = ${JOURNAL_VERSION};`);
  });
}
