import {
  closeSync,
  existsSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { crc32c } from "#core/crc32c.ts";

/** Length and CRC32C before each payload. */
const HEADER_BYTES = 8;
const PAYLOAD_BYTES_MAX = 1024 * 1024;

export interface JournalOptions {
  readonly file: string;
  /** The file is rewritten with the newest record alone when it grows beyond this. @default 65536 */
  readonly bytesMax?: number;
}

/** An append-only log of whole states, of which the newest counts. */
export interface Journal {
  /** Newest valid record at the start; nothing for a new or damaged file. */
  readonly newest: Uint8Array | undefined;
  /** What was wrong with the file at the start. Torn: the end was cut off. Damaged: trust another copy. */
  readonly condition: "New" | "Whole" | "Torn" | "Damaged";
  /** Returns when the record is on disk. Throws when it cannot be written. */
  append(payload: Uint8Array): void;
  close(): void;
}

/** Opens or creates a log. Never throws for its content. */
export function openJournal(options: JournalOptions): Journal {
  mkdirSync(dirname(options.file), { recursive: true });
  const read = existsSync(options.file) ? readRecords(readFileSync(options.file)) : undefined;
  const newest = read?.condition === "Damaged" ? undefined : read?.newest;
  const bytesMax = options.bytesMax ?? 65_536;
  let handle: number | undefined =
    read?.condition === "Whole" ? openSync(options.file, "a") : rewrite(options.file, newest);
  return {
    newest,
    condition: read?.condition ?? "New",
    append(payload) {
      const record = encodeRecord(payload);
      const size = handle === undefined ? bytesMax : fstatSync(handle).size;
      if (handle !== undefined && (size === 0 || size + record.length <= bytesMax)) {
        appendRecord(handle, { record, size });
        return;
      }
      // A rewrite that fails half-way leaves no handle: the old number may soon be another file, and the old file without a
      // name. The next append rewrites again.
      const old = handle;
      handle = undefined;
      if (old !== undefined) closeSync(old);
      handle = rewrite(options.file, payload);
    },
    close() {
      if (handle !== undefined) closeSync(handle);
      handle = undefined;
    },
  };
}

export interface ReadRecords {
  readonly newest: Uint8Array | undefined;
  readonly condition: "Whole" | "Torn" | "Damaged";
}

/**
 * Walks the records. A bad last record is a torn write, and the one before it counts; a bad record with others behind it
 * means that the file cannot be trusted.
 */
export function readRecords(bytes: Uint8Array): ReadRecords {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let newest: Uint8Array | undefined;
  let at = 0;
  while (at < bytes.length) {
    const left = bytes.length - at - HEADER_BYTES;
    const length = left >= 0 ? view.getUint32(at) : 0;
    if (left < 0 || length > left) return { newest, condition: "Torn" };
    const payload = bytes.subarray(at + HEADER_BYTES, at + HEADER_BYTES + length);
    const isWhole = length > 0 && length <= PAYLOAD_BYTES_MAX && crc32c(payload) === view.getUint32(at + 4);
    if (!isWhole) return { newest, condition: length === left ? "Torn" : "Damaged" };
    newest = payload;
    at += HEADER_BYTES + length;
  }
  return { newest, condition: "Whole" };
}

/** A failed append is cut off again, or its half would make the next record unreadable. */
function appendRecord(handle: number, what: { readonly record: Uint8Array; readonly size: number }): void {
  try {
    writeWhole(handle, what.record);
    fdatasyncSync(handle);
  } catch (error) {
    ftruncateSync(handle, what.size);
    throw error;
  }
}

/** A full disk takes a part and says nothing. */
function writeWhole(handle: number, record: Uint8Array): void {
  const written = writeSync(handle, record);
  if (written !== record.length)
    throw new Error(`Cannot append to the log as ${record.length} bytes must be written: current size is ${written}`);
}

function encodeRecord(payload: Uint8Array): Uint8Array {
  if (payload.length === 0 || payload.length > PAYLOAD_BYTES_MAX)
    throw new Error(
      `Cannot append to the log as a record must be 1 to ${PAYLOAD_BYTES_MAX} bytes: current size is ${payload.length}`,
    );
  const record = new Uint8Array(HEADER_BYTES + payload.length);
  const view = new DataView(record.buffer);
  view.setUint32(0, payload.length);
  view.setUint32(4, crc32c(payload));
  record.set(payload, HEADER_BYTES);
  return record;
}

/** Temp file, fsync, rename, fsync of the folder: at every moment the old file or the new one is there, whole. */
function rewrite(file: string, payload: Uint8Array | undefined): number {
  const temporary = `${file}.tmp`;
  const handle = openSync(temporary, "w");
  try {
    if (payload) writeWhole(handle, encodeRecord(payload));
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
  renameSync(temporary, file);
  const folder = openSync(dirname(file), "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
  return openSync(file, "a");
}
