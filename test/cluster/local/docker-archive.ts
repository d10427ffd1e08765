import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCommand } from "../../../scripts/run-command.ts";

/** Writes an image of one static program, as a docker-archive tar that containerd imports. */
export async function writeProgramImage(
  archive: string,
  options: { readonly program: string; readonly path: string; readonly name: string },
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "supercargo-image-"));
  try {
    mkdirSync(join(folder, "root"));
    copyFileSync(options.program, join(folder, "root", options.path));
    const layer = join(folder, "layer.tar");
    await runCommand([
      "tar",
      "-C",
      join(folder, "root"),
      "--owner=0",
      "--group=0",
      "--mtime=@0",
      "-cf",
      layer,
      options.path,
    ]);
    const digest = createHash("sha256").update(readFileSync(layer)).digest("hex");
    const config = {
      architecture: "amd64",
      os: "linux",
      config: { Entrypoint: [`/${options.path}`] },
      rootfs: { type: "layers", diff_ids: [`sha256:${digest}`] },
      history: [{ created_by: "supercargo" }],
    };
    writeFileSync(join(folder, "config.json"), JSON.stringify(config));
    const manifest = [{ Config: "config.json", RepoTags: [options.name], Layers: ["layer.tar"] }];
    writeFileSync(join(folder, "manifest.json"), JSON.stringify(manifest));
    await runCommand(["tar", "-C", folder, "-cf", archive, "config.json", "layer.tar", "manifest.json"]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
