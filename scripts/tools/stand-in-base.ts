import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runCommand } from "../run-command.ts";
import type { Buildah } from "./buildah.ts";
import { cacheFolder } from "./folders.ts";
import { announced } from "./progress.ts";
import { unpackDebs } from "./unpack-debs.ts";

/** What distroless' nodejs image holds beside Node: the C and C++ libraries, authorities, time zones, names of services. */
const PACKAGES = ["base-files", "ca-certificates", "libc6", "libgcc-s1", "libstdc++6", "netbase", "tzdata"];

const DOCKERFILE = `FROM scratch
COPY root/ /
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532:65532
WORKDIR /home/nonroot
ENTRYPOINT ["/nodejs/bin/node"]
`;

/**
 * The name of a base image in buildah's storage that stands in for distroless' nodejs where nothing can be pulled: the
 * same Debian packages, unpacked, and the Node that runs this. No shell, user 65532. Built once per Node version.
 */
export async function ensureStandInBase(buildah: Buildah): Promise<string> {
  const key = createHash("sha256")
    .update(JSON.stringify([PACKAGES, DOCKERFILE, process.version]))
    .digest("hex");
  const image = `localhost/supercargo-stand-in-base:${key.slice(0, 12)}`;
  if (await buildah.has(image)) return image;
  await announced("Building a stand-in for the base image from Debian packages and Node, once", () =>
    buildBase(buildah, image),
  );
  return image;
}

async function buildBase(buildah: Buildah, image: string): Promise<void> {
  const folder = mkdtempSync(join(cacheFolder("tools"), "base-"));
  try {
    const root = join(folder, "root");
    await unpackDebs(PACKAGES, root);
    for (const name of ["usr/share/doc", "usr/share/man", "usr/share/locale"])
      rmSync(join(root, name), { recursive: true, force: true });
    installAuthorities(root);
    for (const name of ["nodejs/bin", "home/nonroot", "tmp"]) mkdirSync(join(root, name), { recursive: true });
    await runCommand(["chmod", "1777", join(root, "tmp")]);
    writeFileSync(
      join(root, "etc/passwd"),
      "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n",
    );
    writeFileSync(join(root, "etc/group"), "root:x:0:\nnonroot:x:65532:\n");
    copyFileSync(process.execPath, join(root, "nodejs/bin/node"));
    writeFileSync(join(folder, "Dockerfile"), DOCKERFILE);
    await buildah.run(["build", "--isolation", "chroot", "--timestamp", "0", "-t", image, folder]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** No package script runs here, so the bundle is put together by hand. */
function installAuthorities(root: string): void {
  const folder = join(root, "usr/share/ca-certificates/mozilla");
  const bundle = readdirSync(folder).map((name) => readFileSync(join(folder, name), "utf8"));
  mkdirSync(join(root, "etc/ssl/certs"), { recursive: true });
  writeFileSync(join(root, "etc/ssl/certs/ca-certificates.crt"), bundle.join("\n"));
}
