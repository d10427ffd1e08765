import { createHash } from "node:crypto";
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { say } from "../../../scripts/console.ts";
import { cacheFolder } from "../../../scripts/tools/folders.ts";
import { ensureGo } from "../../../scripts/tools/go.ts";
import { withLock } from "../../../scripts/tools/lock.ts";
import { announced } from "../../../scripts/tools/progress.ts";

const SOURCES = join(import.meta.dirname, "../kube");
/** Unstamped, the server reports v0.0.0 and Helm refuses any chart with kubeVersion. */
const STAMP = { gitVersion: "v1.36.3", gitMajor: "1", gitMinor: "36", gitTreeState: "clean" };

export interface KubeBinary {
  /** Every part of Kubernetes; the first argument names the part. */
  readonly kube: string;
  /** The program of the pause image. */
  readonly pause: string;
}

/** Builds the Kubernetes binary once per version of its sources, into the ignored cache. */
export async function ensureKubeBinary(): Promise<KubeBinary> {
  const parent = cacheFolder("kube");
  const folder = join(parent, sourcesDigest());
  const built = { kube: join(folder, "kube"), pause: join(folder, "pause") };
  if (existsSync(folder)) return built;
  await withLock(join(parent, "build.lock"), async () => {
    if (existsSync(folder)) return;
    const go = await ensureGo();
    removeOtherThan(parent, "build.lock");
    const partial = join(parent, "partial");
    mkdirSync(partial, { recursive: true });
    await announced("Building Kubernetes 1.36.3 from its Go module, once (about 4 minutes on 2 cores)", async () => {
      await build(go, ["-o", join(partial, "pause"), "./pause"]);
      await build(go, ["-tags", "netgo,providerless", "-o", join(partial, "kube"), "."]);
    });
    renameSync(partial, folder);
  });
  return built;
}

/** Short, as it becomes part of paths. */
function sourcesDigest(): string {
  const hash = createHash("sha256");
  const files = readdirSync(SOURCES, { recursive: true, encoding: "utf8" }).filter((name) =>
    /\.(go|mod|sum)$/.test(name),
  );
  for (const file of files.sort()) hash.update(file).update(readFileSync(join(SOURCES, file)));
  return hash.update(JSON.stringify(STAMP)).digest("hex").slice(0, 12);
}

function removeOtherThan(parent: string, kept: string): void {
  for (const name of readdirSync(parent))
    if (name !== kept) rmSync(join(parent, name), { recursive: true, force: true });
}

function build(go: string, args: readonly string[]): Promise<void> {
  const stamp = Object.entries(STAMP).map(([name, value]) => `-X k8s.io/component-base/version.${name}=${value}`);
  const flags = ["build", "-v", "-trimpath", "-buildvcs=false", "-ldflags", ["-s", "-w", ...stamp].join(" ")];
  const child = spawn(go, [...flags, ...args], {
    cwd: SOURCES,
    env: { ...process.env, CGO_ENABLED: "0", GOTOOLCHAIN: "local", PATH: `${dirname(go)}:${process.env.PATH}` },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const problems: string[] = [];
  let packages = 0;
  createInterface({ input: child.stderr }).on("line", (line) => {
    // `go build -v` prints one package per line; all else is a download or a problem.
    if (/^go: downloading |^[\w.-]+(\/[\w.~-]+)*$/.test(line)) packages += 1;
    else problems.push(line);
    if (packages > 0 && packages % 300 === 0) say(`    ${packages} modules and packages so far`);
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) =>
      code === 0
        ? resolve()
        : reject(new Error(`Cannot build Kubernetes (go ended with ${code}): ${problems.slice(-5).join("\n")}`)),
    );
  });
}
