import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CommandResult, tryCommand } from "../../scripts/run-command.ts";

/** Starts a process of the product as its pod does, with this text as the mounted catalogue, and waits for its end. */
export async function startWith(main: string, text: string): Promise<CommandResult> {
  const folder = mkdtempSync(join(tmpdir(), "catalogue-"));
  const file = join(folder, "catalogue.yaml");
  writeFileSync(file, text);
  try {
    return await tryCommand([process.execPath, main], {
      env: {
        SUPERCARGO_IMAGE: "supercargo",
        SUPERCARGO_POD_NAME: "pod-0",
        SUPERCARGO_POD_NAMESPACE: "supercargo",
        SUPERCARGO_CATALOGUE_FILE: file,
      },
      timeoutMs: 25_000,
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}
