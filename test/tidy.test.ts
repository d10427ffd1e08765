import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

/** Folder → folders it may import from; its own folder is always allowed. The longest matching folder rules. */
const ARROWS: Readonly<Record<string, readonly string[]>> = {
  "services/core": [],
  "services/runtime": ["services/core"],
  "services/gateway": ["services/core", "services/runtime"],
  "services/orchestrator": ["services/core", "services/runtime"],
  "services/meter/sidecar": ["services/core", "services/runtime"],
  "services/meter/reporter": ["services/core", "services/runtime"],
  "services/emulator": ["services/runtime"],
  operator: ["services/core", "services/runtime"],
  // Benches measure the product from inside.
  "scripts/bench": ["services", "operator", "test"],
  scripts: ["services/core", "services/runtime", "services/emulator", "test/cluster"],
  "docs/sample": [],
  test: ["services", "operator", "scripts", "docs/sample", "test"],
};

/** Words that break purity or determinism, what to use instead, and the files that are the exception. */
const BANNED: readonly { readonly word: RegExp; readonly use: string; readonly except: RegExp }[] = [
  { word: /\bDate\.now\(/, use: "Clock.now of #runtime/clock.ts", except: /runtime\/clock\.ts$|main\.ts$|log\.ts$/ },
  { word: /\bnew Date\(\)/, use: "Clock.now of #runtime/clock.ts", except: /runtime\/clock\.ts$|main\.ts$|log\.ts$/ },
  { word: /\bMath\.random\(/, use: "a random function passed in by main.ts", except: /main\.ts$/ },
  { word: /\bprocess\.env\b/, use: "config.ts of the process, read in main.ts", except: /main\.ts$/ },
  { word: /\bsetTimeout\(/, use: "Clock.sleep or Clock.after", except: /runtime\/clock\.ts$|main\.ts$/ },
  { word: /\bconsole\./, use: "the logger", except: /main\.ts$/ },
];

/** This file, which holds planted mistakes. */
const OWN = "test/tidy.test.ts";
/** The one door to @kubernetes/client-node. */
const KUBECONFIG = "services/runtime/kube/kubeconfig.ts";
const files = listSources();
const product = files.filter(
  (file) => /^(services|operator)\//.test(file) && !/\.(api\.|cluster\.)?test\.ts$/.test(file),
);

describe("tidy", () => {
  it("looks at the whole tree", () => {
    expect(files.length).toBeGreaterThan(60);
    expect(files).toContain("services/core/plan.ts");
  });

  it("imports only where the arrows allow", () => {
    expect(files.filter((file) => file !== OWN).flatMap((file) => arrowProblems(file, read(file)))).toEqual([]);
  });

  it("uses no banned word", () => {
    expect(product.flatMap((file) => bannedWords(file, read(file)))).toEqual([]);
  });

  it("finds a planted bad import and a planted banned word", () => {
    expect(arrowProblems("services/core/planted.ts", 'import { x } from "#runtime/clock.ts";')).toHaveLength(1);
    expect(arrowProblems("services/emulator/planted.ts", 'import { x } from "../core/plan.ts";')).toHaveLength(1);
    expect(arrowProblems("services/gateway/planted.ts", 'import { x } from "../orchestrator/run.ts";')).toHaveLength(1);
    expect(
      arrowProblems("services/meter/sidecar/planted.ts", 'import { K } from "@kubernetes/client-node";'),
    ).toHaveLength(1);
    expect(arrowProblems("unknown-folder/planted.ts", "")).toHaveLength(1);
    expect(bannedWords("services/core/planted.ts", "const t = Date.now();")).toHaveLength(1);
  });

  it("keeps the emulator off core, followed to the end", () => {
    expect(reachable("services/emulator/main.ts").filter((file) => file.startsWith("services/core/"))).toEqual([]);
  });

  it("keeps the sidecar small: node, zod and pino alone, followed to the end", () => {
    const packages = new Set(reachable("services/meter/sidecar/main.ts").flatMap((file) => packagesOf(read(file))));
    expect([...packages].filter((name) => name !== "pino")).toEqual(["zod"]);
  });

  it("names only real paths in docs/architecture.md", () => {
    const paths = [...read("docs/architecture.md").matchAll(/`([a-z]+\/[A-Za-z0-9_./-]+)`/g)].map(
      (match) => match[1] ?? "",
    );
    expect(paths.length).toBeGreaterThan(10);
    expect(paths.filter((path) => !existsSync(join(root, path)))).toEqual([]);
  });

  it("names no machine and no registry in tracked text", () => {
    const texts = files.filter((file) => file !== OWN);
    expect(texts.filter((file) => /https?:\/\/registry\.npmjs|\/work\/main/.test(read(file)))).toEqual([]);
    expect(read("package-lock.json")).not.toMatch(/"resolved": "http/);
  });
});

function listSources(): string[] {
  const folders = ["services", "operator", "scripts", "test", "docs"];
  return folders
    .filter((folder) => existsSync(join(root, folder)))
    .flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).map((name) => join(folder, name)),
    )
    .filter((file) => file.endsWith(".ts") && !file.includes("node_modules"));
}

function read(file: string): string {
  return readFileSync(join(root, file), "utf8");
}

function specifiers(text: string): string[] {
  return [...text.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)].map((match) => match[1] ?? "");
}

/** The file a specifier names, or nothing for a package or a node module. */
function resolveSpecifier(file: string, specifier: string): string | undefined {
  if (specifier.startsWith("#core/")) return specifier.replace("#core/", "services/core/");
  if (specifier.startsWith("#runtime/")) return specifier.replace("#runtime/", "services/runtime/");
  if (specifier.startsWith(".")) return relative(".", normalize(join(dirname(file), specifier)));
  return undefined;
}

function homeOf(file: string): string | undefined {
  return Object.keys(ARROWS)
    .filter((folder) => file.startsWith(`${folder}/`))
    .sort((a, b) => b.length - a.length)[0];
}

function arrowProblems(file: string, text: string): string[] {
  const home = homeOf(file);
  if (home === undefined) return [`${file} lies in no known folder`];
  const isTest = file.endsWith(".test.ts") || file.startsWith("test/");
  return specifiers(text).flatMap((specifier) => {
    if (specifier === "@kubernetes/client-node")
      return file === KUBECONFIG ? [] : [`${file} imports ${specifier}: use #runtime/kube/kubeconfig.ts`];
    const target = resolveSpecifier(file, specifier);
    return target === undefined || isTest ? [] : importProblems(file, { home, target });
  });
}

function importProblems(file: string, { home, target }: { home: string; target: string }): string[] {
  if (target === KUBECONFIG && !/^(operator|scripts|test|services\/runtime\/kube)\//.test(file))
    return [`${file} imports kubeconfig.ts: only operator and tests may`];
  const folders = ARROWS[home] ?? [];
  const allowed = [home, ...folders].some((folder) => target.startsWith(`${folder}/`));
  return allowed ? [] : [`${file} imports ${target}: ${home} may import ${folders.join(", ") || "nothing"}`];
}

function bannedWords(file: string, text: string): string[] {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
  return BANNED.filter((rule) => !rule.except.test(file) && rule.word.test(code)).map(
    (rule) => `${file} uses ${rule.word.source}: use ${rule.use}`,
  );
}

/** Every file that an entry reaches by imports that survive type stripping. */
function reachable(entry: string): string[] {
  const seen = new Set<string>();
  const todo = [entry];
  for (let file = todo.pop(); file !== undefined; file = todo.pop()) {
    if (seen.has(file) || !existsSync(join(root, file))) continue;
    seen.add(file);
    const text = withoutTypeImports(read(file));
    for (const specifier of specifiers(text)) {
      const target = resolveSpecifier(file, specifier);
      if (target !== undefined) todo.push(target);
    }
  }
  return [...seen];
}

function packagesOf(text: string): string[] {
  return specifiers(withoutTypeImports(text)).filter((specifier) => !/^(node:|#|\.)/.test(specifier));
}

function withoutTypeImports(text: string): string {
  return text.replace(/import type [^;]+;/g, "");
}
