import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { repositoryFolder } from "../../scripts/tools/folders.ts";
import { defaultValues } from "./helm.ts";

function read(path: string): string {
  return readFileSync(join(repositoryFolder, path), "utf8");
}

/** The part of skaffold/v4beta14 that is used, closed: its own loader refuses what it does not know, too. */
const skaffoldSchema = z.strictObject({
  apiVersion: z.literal("skaffold/v4beta14"),
  kind: z.literal("Config"),
  metadata: z.strictObject({ name: z.string() }),
  build: z.strictObject({
    tagPolicy: z.strictObject({ gitCommit: z.strictObject({ variant: z.literal("AbbrevCommitSha") }) }),
    local: z.strictObject({ push: z.boolean(), useBuildkit: z.boolean() }),
    artifacts: z.array(
      z.strictObject({ image: z.string(), docker: z.strictObject({ dockerfile: z.string(), target: z.string() }) }),
    ),
  }),
  deploy: z.strictObject({
    helm: z.strictObject({
      releases: z.array(
        z.strictObject({
          name: z.string(),
          chartPath: z.string(),
          namespace: z.string(),
          createNamespace: z.boolean(),
          skipBuildDependencies: z.boolean(),
          wait: z.boolean(),
          setValueTemplates: z.record(z.string(), z.string()),
        }),
      ),
    }),
  }),
  portForward: z.array(
    z.strictObject({
      resourceType: z.string(),
      resourceName: z.string(),
      namespace: z.string(),
      address: z.string(),
      port: z.int(),
      localPort: z.int(),
    }),
  ),
  profiles: z.array(
    z.strictObject({
      name: z.string(),
      activation: z.array(z.strictObject({ kubeContext: z.string() })).optional(),
      patches: z.array(z.strictObject({ op: z.enum(["add", "replace"]), path: z.string(), value: z.unknown() })),
    }),
  ),
});

function valueAt(root: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (value, key) => (typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined),
    root,
  );
}

describe("skaffold.yaml", () => {
  const raw: unknown = parse(read("skaffold.yaml"));
  const skaffold = skaffoldSchema.parse(raw);

  it("builds targets that the Dockerfile has", () => {
    const targets = [...read("Dockerfile").matchAll(/ AS ([a-z]+)$/gm)].map((match) => match[1]);
    for (const { docker } of skaffold.build.artifacts) expect(targets).toContain(docker.target);
  });

  it("sets values that the chart has, from images that it builds", () => {
    const images = skaffold.build.artifacts.map((artifact) => artifact.image);
    const kind = z.record(z.string(), z.unknown()).parse(skaffold.profiles[0]?.patches[0]?.value);
    for (const release of skaffold.deploy.helm.releases) {
      expect(read(`${release.chartPath}/Chart.yaml`)).toContain(`name: ${release.name}`);
      for (const path of [...Object.keys(release.setValueTemplates), ...Object.keys(kind)])
        expect(valueAt(defaultValues(), path.split(".")), path).toBeDefined();
      const used = Object.values(release.setValueTemplates).flatMap((one) => /_([a-z]+)}}$/.exec(one)?.[1] ?? []);
      expect(new Set(used)).toEqual(new Set(images));
    }
  });

  it("replaces only what is there", () => {
    for (const { op, path } of skaffold.profiles.flatMap((profile) => profile.patches)) {
      const keys = path.split("/").slice(1);
      expect(valueAt(raw, op === "add" ? keys.slice(0, -1) : keys), path).toBeDefined();
    }
  });
});

const workflowSchema = z.looseObject({
  permissions: z.strictObject({}),
  jobs: z.record(
    z.string(),
    z.looseObject({
      "timeout-minutes": z.int(),
      permissions: z.record(z.string(), z.enum(["read"])),
      steps: z.array(z.looseObject({ uses: z.string().optional(), run: z.string().optional() })),
    }),
  ),
});
const WORKFLOWS = readdirSync(join(repositoryFolder, ".github/workflows"));

describe.each(WORKFLOWS)("the workflow %s", (file) => {
  const text = read(`.github/workflows/${file}`);
  const steps = Object.values(workflowSchema.parse(parse(text)).jobs).flatMap((job) => job.steps);

  it("runs npm scripts only, and they exist", () => {
    const { scripts } = z.object({ scripts: z.record(z.string(), z.string()) }).parse(JSON.parse(read("package.json")));
    const runs = steps.flatMap((step) => (step.run === undefined ? [] : [step.run]));
    expect(runs.length).toBeGreaterThan(0);
    for (const run of runs.filter((one) => one !== "npm ci --ignore-scripts"))
      expect(Object.keys(scripts), run).toContain(/^npm (?:run )?([a-z:]+)$/.exec(run)?.[1]);
  });

  it("pins every action by commit and says which version that is", () => {
    const uses = [...text.matchAll(/uses: (.*)$/gm)].map((match) => match[1]);
    expect(uses.length).toBeGreaterThan(0);
    for (const one of uses) expect(one).toMatch(/^[a-z-]+\/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
  });
});

describe("the version", () => {
  it("is one for package, chart and app, and the changelog knows it", () => {
    const { version } = z.object({ version: z.string() }).parse(JSON.parse(read("package.json")));
    expect(parse(read("charts/supercargo/Chart.yaml"))).toMatchObject({ version, appVersion: version });
    expect(read("CHANGELOG.md")).toContain(`\n## ${version}, `);
  });
});
