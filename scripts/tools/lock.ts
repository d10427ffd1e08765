import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { say } from "../console.ts";

/**
 * Runs alone among all processes of this machine that name the same file. The kernel's file lock is used, through
 * `flock`: it is gone with its holder, even after kill -9, so no lock is ever stale. Says who holds it while waiting.
 */
export async function withLock<T>(file: string, run: () => Promise<T>): Promise<T> {
  mkdirSync(dirname(file), { recursive: true });
  const release = await takeLock(file);
  try {
    writeFileSync(file, `process ${process.pid} (${process.argv.slice(1, 3).join(" ")})`);
    return await run();
  } finally {
    release();
  }
}

function takeLock(file: string): Promise<() => void> {
  // The holder is a child that ends when its input closes, and that happens whenever this process ends.
  const holder = spawn("flock", ["--no-fork", file, "sh", "-c", "echo locked; exec cat >/dev/null"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const notice = setTimeout(() => say(`  Waiting for ${holderOf(file)}, which holds ${file}`), 1000);
  return new Promise((resolve, reject) => {
    holder.on("error", (cause) => {
      clearTimeout(notice);
      reject(new Error("Cannot lock as flock is missing: install the package util-linux", { cause }));
    });
    holder.stdout.once("data", () => {
      clearTimeout(notice);
      resolve(() => holder.stdin.end());
    });
  });
}

function holderOf(file: string): string {
  try {
    return readFileSync(file, "utf8") || "another process";
  } catch {
    return "another process";
  }
}
