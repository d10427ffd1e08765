import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";

export interface WatchedFile<T> {
  /** The newest good value, with the SHA-256 of the bytes it came from; nothing before the first good read. */
  current(): { readonly value: T; readonly digest: string } | undefined;
  /** Why the newest content was refused, while an older one stays in force. */
  problem(): string | undefined;
  /** Looks at the file now: cheap when nothing changed. True when the value changed. */
  refresh(): boolean;
}

/** Largest file that is read: a ConfigMap or Secret holds at most 1 MiB. */
const FILE_BYTES_MAX = 1024 * 1024;

/**
 * A mounted file that changes under us: ConfigMap, Secret, token or control.json. Mounts are swapped by symlink, so the
 * file is compared by inode, size and mtime, not watched. A bad new content never replaces a good one.
 * `parse` throws with a message for people; it must not repeat secrets.
 */
export function watchFile<T>(file: string, parse: (text: string) => T): WatchedFile<T> {
  let current: { value: T; digest: string } | undefined;
  let problem: string | undefined;
  let seen = "";

  const refresh = (): boolean => {
    try {
      const stat = statSync(file, { bigint: true });
      const mark = `${stat.ino}:${stat.size}:${stat.mtimeNs}`;
      if (mark === seen) return false;
      // Forgotten until this content is judged: a file that vanished and came back must be looked at again.
      seen = "";
      if (stat.size > FILE_BYTES_MAX)
        throw new Error(`must be at most ${FILE_BYTES_MAX} bytes: current size is ${stat.size}`);
      const bytes = readFileSync(file);
      const digest = createHash("sha256").update(bytes).digest("hex");
      seen = mark;
      const changed = digest !== current?.digest;
      if (changed) current = { value: parse(bytes.toString("utf8")), digest };
      problem = undefined;
      return changed;
    } catch (error) {
      if (isMissing(error)) seen = "";
      problem = `Cannot read ${file}: ${error instanceof Error ? error.message : String(error)}`;
      return false;
    }
  };
  refresh();
  return { current: () => current, problem: () => problem, refresh };
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
