/**
 * The part of node:fs that the product's counter file, log and control file use, in memory: hooks.ts puts it in the place
 * of node:fs for those modules alone, so that their real code runs thousands of times a second, and a crash can strike
 * any single call.
 */
interface MemoryFile {
  bytes: Uint8Array;
  size: number;
}

const files = new Map<string, MemoryFile>();
const handles = new Map<number, { readonly file: MemoryFile; readonly appends: boolean }>();
const door: { handle: number; onCall: (call: string) => void } = { handle: 10, onCall: () => undefined };

export const constants = { O_RDWR: 2, O_CREAT: 64 } as const;

/** Forgets every file. Handles that are still open keep their own. */
export function clearFiles(): void {
  files.clear();
  handles.clear();
}

/** Runs before each call that changes a file; a throw there is a failed call. */
export function watchFileCalls(onCall: (call: string) => void): void {
  door.onCall = onCall;
}

/** The bytes of a file, or nothing. */
export function peekFile(path: string): Uint8Array | undefined {
  const file = files.get(path);
  return file?.bytes.slice(0, file.size);
}

/** Puts bytes in the place of a file, as a fault would; nothing removes it. */
export function pokeFile(path: string, bytes: Uint8Array | undefined): void {
  if (bytes) files.set(path, { bytes: bytes.slice(), size: bytes.length });
  else files.delete(path);
}

export function existsSync(path: string): boolean {
  return files.has(path);
}

export function mkdirSync(): void {}

export function openSync(path: string, flags: string | number): number {
  door.onCall("open");
  const isFolder = flags === "r" && !files.has(path);
  let file = isFolder ? { bytes: new Uint8Array(0), size: 0 } : files.get(path);
  if (!file || flags === "w") {
    file = { bytes: new Uint8Array(1024), size: 0 };
    files.set(path, file);
  }
  door.handle += 1;
  handles.set(door.handle, { file, appends: flags === "a" });
  return door.handle;
}

export function closeSync(handle: number): void {
  handles.delete(handle);
}

export function readFileSync(path: string, encoding?: string): Uint8Array | string {
  const bytes = peekFile(path);
  if (!bytes) throw new Error(`ENOENT: ${path}`);
  return encoding === undefined ? bytes : Buffer.from(bytes).toString("utf8");
}

export function readSync(handle: number, target: Uint8Array): number {
  const { file } = fileOf(handle);
  const size = Math.min(target.length, file.size);
  target.set(file.bytes.subarray(0, size));
  return size;
}

/** Signature of node:fs: handle, bytes, offset in them, length, position in the file. */
// oxlint-disable-next-line max-params -- node:fs has this signature
export function writeSync(handle: number, bytes: Uint8Array, _offset = 0, length = bytes.length, at?: number): number {
  door.onCall("write");
  const { file, appends } = fileOf(handle);
  const position = appends || at === undefined ? file.size : at;
  const end = position + length;
  if (end > file.bytes.length) {
    const larger = new Uint8Array(Math.max(end, 2 * file.bytes.length));
    larger.set(file.bytes.subarray(0, file.size));
    file.bytes = larger;
  }
  file.bytes.set(bytes.subarray(0, length), position);
  file.size = Math.max(file.size, end);
  return length;
}

export function writeFileSync(path: string, text: string): void {
  door.onCall("writeFile");
  pokeFile(path, Buffer.from(text));
}

export function renameSync(from: string, to: string): void {
  door.onCall("rename");
  const file = files.get(from);
  if (!file) throw new Error(`ENOENT: ${from}`);
  files.delete(from);
  files.set(to, file);
}

export function ftruncateSync(handle: number, size: number): void {
  fileOf(handle).file.size = size;
}

export function fstatSync(handle: number): { readonly size: number } {
  return { size: fileOf(handle).file.size };
}

export function fsyncSync(): void {}

export function fdatasyncSync(): void {
  door.onCall("fdatasync");
}

function fileOf(handle: number): { readonly file: MemoryFile; readonly appends: boolean } {
  const open = handles.get(handle);
  if (!open) throw new Error(`EBADF: ${handle}`);
  return open;
}
