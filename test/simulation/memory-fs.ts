/**
 * The part of node:fs that the product's counter file, log and control file use, in memory: hooks.ts puts it in the place
 * of node:fs for those modules alone, so that their real code runs thousands of times a second, and a crash can strike
 * any single call.
 */
interface MemoryFile {
  bytes: Uint8Array;
  size: number;
  /** So much of it is on the disk; what is beyond it lies in the page cache alone. */
  syncedSize: number;
}

/** One call of a process to its files: `run` does it, `runHalf` does a part of it, where there are parts. */
export interface FileCall<T> {
  readonly name: string;
  readonly run: () => T;
  readonly runHalf?: () => void;
}
type Guard = <T>(call: FileCall<T>) => T;

const files = new Map<string, MemoryFile>();
const handles = new Map<number, { readonly file: MemoryFile; readonly appends: boolean }>();
const letThrough: Guard = ({ run }) => run();
const door: { handle: number; guard: Guard } = { handle: 10, guard: letThrough };

export const constants = { O_RDWR: 2, O_CREAT: 64 } as const;

/** Forgets every file. Handles that are still open keep their own. */
export function clearFiles(): void {
  files.clear();
  handles.clear();
}

/** Puts a guard before every call: it may run the call, or half of it, or throw. Nothing takes it away. */
export function guardFileCalls(guard: Guard = letThrough): void {
  door.guard = guard;
}

/** The node loses its power: of each file what was synced is left. Names are kept, as if every rename were synced. */
export function losePageCache(): void {
  for (const file of files.values()) file.size = file.syncedSize;
}

/** The bytes of a file, or nothing. */
export function peekFile(path: string): Uint8Array | undefined {
  const file = files.get(path);
  return file?.bytes.slice(0, file.size);
}

/** Puts bytes in the place of a file, as a fault would; nothing removes it. */
export function pokeFile(path: string, bytes: Uint8Array | undefined): void {
  if (bytes) files.set(path, { bytes: bytes.slice(), size: bytes.length, syncedSize: bytes.length });
  else files.delete(path);
}

export function existsSync(path: string): boolean {
  return files.has(path);
}

export function mkdirSync(): void {}

export function mkdtempSync(prefix: string): string {
  return `${prefix}1`;
}

/** Folders hold nothing that `clearFiles` would leave. */
export function rmSync(): void {}

export function openSync(path: string, flags: string | number): number {
  return door.guard({ name: "open", run: () => open(path, flags) });
}

function open(path: string, flags: string | number): number {
  const isFolder = flags === "r" && !files.has(path);
  let file = isFolder ? emptyFile() : files.get(path);
  if (!file || flags === "w") {
    file = emptyFile();
    files.set(path, file);
  }
  door.handle += 1;
  handles.set(door.handle, { file, appends: flags === "a" });
  return door.handle;
}

export function closeSync(handle: number): void {
  door.guard({ name: "close", run: () => void handles.delete(handle) });
}

export function readFileSync(path: string, encoding?: string): Uint8Array | string {
  const bytes = door.guard({ name: "readFile", run: () => peekFile(path) });
  if (!bytes) throw Object.assign(new Error(`ENOENT: ${path}`), { code: "ENOENT" });
  return encoding === undefined ? bytes : Buffer.from(bytes).toString("utf8");
}

export function readSync(handle: number, target: Uint8Array): number {
  return door.guard({
    name: "read",
    run() {
      const { file } = fileOf(handle);
      const size = Math.min(target.length, file.size);
      target.set(file.bytes.subarray(0, size));
      return size;
    },
  });
}

/** Signature of node:fs: handle, bytes, offset in them, length, position in the file. */
// oxlint-disable-next-line max-params -- node:fs has this signature
export function writeSync(handle: number, bytes: Uint8Array, _offset = 0, length = bytes.length, at?: number): number {
  const run = (part: number): number => write(fileOf(handle), { bytes: bytes.subarray(0, part), at });
  return door.guard({ name: "write", run: () => run(length), runHalf: () => void run(length >> 1) });
}

function write(
  { file, appends }: { readonly file: MemoryFile; readonly appends: boolean },
  { bytes, at }: { readonly bytes: Uint8Array; readonly at: number | undefined },
): number {
  const position = appends || at === undefined ? file.size : at;
  const end = position + bytes.length;
  if (end > file.bytes.length) {
    const larger = new Uint8Array(Math.max(end, 2 * file.bytes.length));
    larger.set(file.bytes.subarray(0, file.size));
    file.bytes = larger;
  }
  file.bytes.set(bytes, position);
  file.size = Math.max(file.size, end);
  return bytes.length;
}

export function writeFileSync(path: string, text: string): void {
  const bytes = Buffer.from(text);
  const run = (part: number): void => {
    files.set(path, { ...emptyFile(), bytes: bytes.slice(0, part), size: part });
  };
  door.guard({ name: "writeFile", run: () => run(bytes.length), runHalf: () => run(bytes.length >> 1) });
}

export function renameSync(from: string, to: string): void {
  door.guard({
    name: "rename",
    run() {
      const file = files.get(from);
      if (!file) throw new Error(`ENOENT: ${from}`);
      files.delete(from);
      files.set(to, file);
    },
  });
}

export function ftruncateSync(handle: number, size: number): void {
  door.guard({ name: "ftruncate", run: () => void (fileOf(handle).file.size = size) });
}

export function fstatSync(handle: number): { readonly size: number } {
  return door.guard({ name: "fstat", run: () => ({ size: fileOf(handle).file.size }) });
}

export function fsyncSync(handle: number): void {
  door.guard({ name: "fsync", run: () => sync(handle) });
}

export function fdatasyncSync(handle: number): void {
  door.guard({ name: "fdatasync", run: () => sync(handle) });
}

function sync(handle: number): void {
  const { file } = fileOf(handle);
  file.syncedSize = file.size;
}

function emptyFile(): MemoryFile {
  return { bytes: new Uint8Array(1024), size: 0, syncedSize: 0 };
}

function fileOf(handle: number): { readonly file: MemoryFile; readonly appends: boolean } {
  const open = handles.get(handle);
  if (!open) throw new Error(`EBADF: ${handle}`);
  return open;
}
