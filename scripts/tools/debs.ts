import { runCommand, tryCommand } from "../run-command.ts";
import { cacheFolder } from "./folders.ts";
import { withLock } from "./lock.ts";
import { announced } from "./progress.ts";

/** Installs the Debian packages that are missing, without what they recommend. Needs root only if one is missing. */
export async function ensureDebs(packages: readonly string[]): Promise<void> {
  if ((await missingPackages(packages)).length === 0) return;
  await withLock(`${cacheFolder("tools")}/apt.lock`, async () => {
    const missing = await missingPackages(packages);
    if (missing.length > 0) await installPackages(missing);
  });
}

async function missingPackages(packages: readonly string[]): Promise<string[]> {
  // dpkg-query ends with 1 when one package is unknown, and still prints the others.
  const known = await tryCommand(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", ...packages]).catch(
    (cause) => {
      throw new Error(
        `Cannot look for ${packages.join(", ")} as this is no Debian: install them by hand or set KUBECONFIG to a kind cluster`,
        { cause },
      );
    },
  );
  const installed = new Set(
    known.stdout.split("\n").flatMap((line) => (line.endsWith(" installed") ? [line.split(" ")[0] ?? ""] : [])),
  );
  return packages.filter((name) => !installed.has(name));
}

async function installPackages(missing: readonly string[]): Promise<void> {
  const names = missing.join(" ");
  if (process.getuid?.() !== 0)
    throw new Error(
      `Cannot install Debian packages without root: run "apt-get install --no-install-recommends ${names}" as root`,
    );
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  await announced(`Installing the Debian packages ${names}, once`, async () => {
    const install = [
      "apt-get",
      "install",
      "-qq",
      "--no-install-recommends",
      "-o",
      "DPkg::Lock::Timeout=300",
      ...missing,
    ];
    try {
      await runCommand(["apt-get", "update", "-qq"], { env });
      await runCommand(install, { env });
    } catch (cause) {
      throw new Error(`Cannot install ${names}: check that apt reaches its mirror, then run "${install.join(" ")}"`, {
        cause,
      });
    }
  });
}
