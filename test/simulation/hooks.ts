import { registerHooks } from "node:module";
import type { Mutant } from "./mutants.ts";

/** Product files, and a pod's fake, whose node:fs is the one in memory. */
const IN_MEMORY = [
  "/services/runtime/counters.ts",
  "/services/runtime/journal.ts",
  "/services/meter/sidecar/counter-file.ts",
  "/services/meter/sidecar/control-file.ts",
  "/test/fakes/pod-world.ts",
];

/**
 * Prepares this thread before the product's code is loaded: files in memory, and for a mutant its file's source with the
 * bug in it. Throws at the load when the text to replace is gone or stands there twice, so that no mutant dies unseen.
 */
export function hookModules(mutant: Mutant | undefined): void {
  const memoryFs = new URL("./memory-fs.ts", import.meta.url).href;
  registerHooks({
    resolve(specifier, context, next) {
      const isFile = specifier === "node:fs" && IN_MEMORY.some((file) => context.parentURL?.endsWith(file));
      return isFile ? { url: memoryFs, format: "module-typescript", shortCircuit: true } : next(specifier, context);
    },
    load(url, context, next) {
      const loaded = next(url, context);
      const patches = mutant?.patches.filter((patch) => url.endsWith(patch.file)) ?? [];
      if (patches.length === 0) return loaded;
      const source = patches.reduce((text, patch) => applyPatch(text, patch), sourceText(loaded.source));
      return { ...loaded, source };
    },
  });
}

/** The text with one place replaced. Throws unless it stands there exactly once. */
export function applyPatch(text: string, patch: Mutant["patches"][number]): string {
  const parts = text.split(patch.find);
  if (parts.length !== 2)
    throw new Error(
      `Cannot seed a bug into ${patch.file} as its text must stand there once: current count is ${parts.length - 1}: ${patch.find}`,
    );
  return parts.join(patch.replace);
}

function sourceText(source: unknown): string {
  if (typeof source === "string") return source;
  if (source instanceof Uint8Array) return new TextDecoder().decode(source);
  throw new Error("Cannot seed a bug as the source must be text");
}
