/** Version of the tables, kept in `PRAGMA user_version`; a newer file is refused, never guessed at. */
export const JOURNAL_VERSION = 2;

/**
 * Facts are numbered over all runs and never reuse a number (AUTOINCREMENT): the number is stored beside the counter.
 * They outlive their run, since a caller who deletes a response must not reset an hourly limit.
 */
export const JOURNAL_TABLES = `
CREATE TABLE run (
  id TEXT PRIMARY KEY,
  epoch INTEGER NOT NULL,
  owner TEXT NOT NULL,
  principal TEXT NOT NULL,
  caller TEXT NOT NULL,
  idempotency_key TEXT,
  request_digest TEXT NOT NULL,
  request TEXT NOT NULL,
  model TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL,
  completed_at_ms INTEGER,
  expires_at_ms INTEGER,
  status TEXT NOT NULL,
  incomplete_reason TEXT,
  error TEXT,
  usage TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX run_key ON run (principal, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX run_unfinished ON run (created_at_ms) WHERE status = 'in_progress';
CREATE INDEX run_expiry ON run (expires_at_ms) WHERE expires_at_ms IS NOT NULL;
CREATE TABLE event (
  run_id TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  sequence INTEGER NOT NULL,
  payload TEXT NOT NULL,
  PRIMARY KEY (run_id, sequence)
) STRICT;
CREATE TABLE turn (
  run_id TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  text TEXT NOT NULL,
  finish TEXT NOT NULL,
  usage TEXT NOT NULL,
  PRIMARY KEY (run_id, number)
) STRICT;
CREATE TABLE call (
  run_id TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  turn INTEGER NOT NULL,
  position INTEGER NOT NULL,
  call_id TEXT NOT NULL,
  item_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  server TEXT NOT NULL,
  tool TEXT NOT NULL,
  arguments TEXT NOT NULL,
  state TEXT NOT NULL,
  key TEXT,
  started_at_ms INTEGER,
  result TEXT,
  PRIMARY KEY (run_id, turn, position)
) STRICT;
CREATE TABLE pin (
  server TEXT NOT NULL,
  tool TEXT NOT NULL,
  generation INTEGER NOT NULL,
  digest TEXT NOT NULL,
  PRIMARY KEY (server, tool)
) STRICT;
CREATE TABLE fact (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  counted_in TEXT NOT NULL,
  dimension TEXT NOT NULL,
  amount INTEGER NOT NULL,
  run_id TEXT NOT NULL,
  server TEXT NOT NULL,
  tool TEXT NOT NULL,
  at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX fact_tool ON fact (server, tool, at_ms);
`;

/**
 * Since version 2: what people are asked. An approval outlives the run that asked: a later response of the conversation
 * uses it, once. `claim_*` names the one call that did.
 */
export const APPROVAL_TABLES = `
ALTER TABLE call ADD COLUMN approval TEXT;
CREATE INDEX call_approval ON call (approval) WHERE approval IS NOT NULL;
CREATE TABLE approval (
  name TEXT PRIMARY KEY,
  uid TEXT NOT NULL,
  digest TEXT NOT NULL,
  run_id TEXT NOT NULL,
  call_id TEXT NOT NULL,
  rule TEXT NOT NULL,
  asked_at_ms INTEGER NOT NULL,
  expires_at_ms INTEGER NOT NULL,
  outcome TEXT,
  claim_run TEXT,
  claim_epoch INTEGER,
  claim_turn INTEGER,
  claim_position INTEGER
) STRICT;
CREATE INDEX approval_open ON approval (expires_at_ms) WHERE outcome IS NULL;
`;
