import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { type Cluster, openCluster } from "../test/cluster/local/cluster.ts";
import { runMain, say } from "./console.ts";
import { runCommand, tryCommand } from "./run-command.ts";
import { ensureBuildah } from "./tools/buildah.ts";
import { cacheFolder, repositoryFolder } from "./tools/folders.ts";
import { withLock } from "./tools/lock.ts";
import { timed } from "./tools/progress.ts";
import { ensureStandInBase } from "./tools/stand-in-base.ts";

const imageSchema = z.object({
  /** Registry and repository without a tag. */
  repository: z.string(),
  /** Of the content: another content is another tag, so that a changed image rolls its pods. */
  tag: z.string(),
  /** repository:tag */
  reference: z.string(),
  /** A docker-archive tar. */
  archive: z.string(),
});
const builtSchema = z.object({ sources: z.string(), supercargo: imageSchema, emulator: imageSchema });

/** One image in an archive. */
export type ImageRef = z.infer<typeof imageSchema>;

/** Both images of the Dockerfile. */
export interface Images {
  readonly supercargo: ImageRef;
  readonly emulator: ImageRef;
}

const REPOSITORIES = { supercargo: "localhost/supercargo", emulator: "localhost/supercargo-emulator" } as const;
/** The bundles of the target `emulator`; the product holds the others. */
const EMULATOR_BUNDLES: readonly string[] = ["emulator.js", "orders.js"];
const TARGETS = ["supercargo", "emulator"] as const;
type Target = (typeof TARGETS)[number];

/** Everything an image is made of. */
const SOURCES = [
  "operator",
  "services",
  "docs/sample",
  "package-lock.json",
  "rolldown.config.ts",
  "Dockerfile",
  "scripts/tools/stand-in-base.ts",
];

/** Builds both images unless nothing changed, and loads into the cluster those that it does not have. */
export async function buildImages(cluster?: Cluster): Promise<Images> {
  const folder = cacheFolder("images");
  const images = await withLock(join(folder, "build.lock"), () => buildChanged(folder));
  if (cluster === undefined) return images;
  for (const target of TARGETS) {
    const image = images[target];
    if (await cluster.hasImage(image.reference)) continue;
    await timed(`Loaded ${image.reference}`, () => cluster.loadImage(image.archive));
  }
  return images;
}

async function buildChanged(folder: string): Promise<Images> {
  const record = join(folder, "built.json");
  const sources = sourcesDigest();
  const built = readBuilt(record);
  if (built?.sources === sources && TARGETS.every((target) => existsSync(built[target].archive))) return built;
  const build = (await hasDocker()) ? buildWithDocker : buildWithBuildah;
  const images = await build(folder, sources);
  const kept = new Set(TARGETS.map((target) => images[target].archive));
  for (const name of readdirSync(folder))
    if (name.endsWith(".tar") && !kept.has(join(folder, name))) rmSync(join(folder, name), { force: true });
  writeFileSync(record, JSON.stringify({ sources, ...images }));
  return images;
}

function readBuilt(record: string): z.infer<typeof builtSchema> | undefined {
  if (!existsSync(record)) return undefined;
  return builtSchema.safeParse(JSON.parse(readFileSync(record, "utf8"))).data;
}

/** Bases come from registries, and the stage `build` runs. Not exercised on the build machine, which has no Docker. */
async function buildWithDocker(folder: string, sources: string): Promise<Images> {
  const make = async (target: Target): Promise<ImageRef> => {
    const image = imageRef(folder, target, sources);
    await timed(`docker build ${image.reference}`, async () => {
      const env = { DOCKER_BUILDKIT: "1" };
      await runCommand(["docker", "build", "--target", target, "-t", image.reference, repositoryFolder], { env });
      await runCommand(["docker", "save", "-o", image.archive, image.reference]);
    });
    return image;
  };
  return { supercargo: await make("supercargo"), emulator: await make("emulator") };
}

/** Nothing is pulled: the base is a stand-in, and the bundles are made here, in the place of the stage `dist`. */
async function buildWithBuildah(folder: string): Promise<Images> {
  const dist = join(repositoryFolder, "dist");
  await timed("Bundles", () => bundle(dist));
  const buildah = await ensureBuildah();
  const base = await ensureStandInBase(buildah);
  const make = async (target: Target): Promise<ImageRef> => {
    const image = imageRef(folder, target, contentDigest(dist, { base, target }));
    if (existsSync(image.archive)) return image;
    await timed(`buildah build ${image.reference}`, async () => {
      const context = ["--build-context", `dist=${dist}`, "--build-arg", `RUNTIME_IMAGE=${base}`];
      const reproducible = ["--isolation", "chroot", "--layers", "--timestamp", "0", "--pull-never"];
      await buildah.run([
        "build",
        ...reproducible,
        ...context,
        "--target",
        target,
        "-t",
        image.reference,
        repositoryFolder,
      ]);
      const partial = `${image.archive}.partial`;
      rmSync(partial, { force: true });
      await buildah.run(["push", image.reference, `docker-archive:${partial}:${image.reference}`]);
      renameSync(partial, image.archive);
      await buildah.run(["rmi", image.reference]);
    });
    return image;
  };
  return { supercargo: await make("supercargo"), emulator: await make("emulator") };
}

/** What goes into one target: another emulator must not roll because the product changed, as it forgets what it booked. */
function contentDigest(dist: string, part: { readonly base: string; readonly target: Target }): string {
  const content = createHash("sha256")
    .update(part.base)
    .update(readFileSync(join(repositoryFolder, "Dockerfile")));
  const names = readdirSync(dist).filter((name) => EMULATOR_BUNDLES.includes(name) === (part.target === "emulator"));
  for (const name of names.sort()) content.update(name).update(readFileSync(join(dist, name)));
  return content.digest("hex");
}

function imageRef(folder: string, target: Target, digest: string): ImageRef {
  const tag = digest.slice(0, 12);
  const repository = REPOSITORIES[target];
  return { repository, tag, reference: `${repository}:${tag}`, archive: join(folder, `${target}-${tag}.tar`) };
}

async function bundle(dist: string): Promise<void> {
  rmSync(dist, { recursive: true, force: true });
  await runCommand([process.execPath, join(repositoryFolder, "node_modules/rolldown/bin/cli.mjs"), "-c"]);
}

function sourcesDigest(): string {
  const hash = createHash("sha256").update(process.version);
  for (const file of SOURCES.flatMap(filesOf)) hash.update(file).update(readFileSync(join(repositoryFolder, file)));
  return hash.digest("hex");
}

function filesOf(name: string): string[] {
  const path = join(repositoryFolder, name);
  if (!existsSync(path)) return [];
  if (/\.\w+$|Dockerfile$/.test(name)) return [name];
  return readdirSync(path, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts"))
    .sort()
    .map((file) => join(name, file));
}

function hasDocker(): Promise<boolean> {
  return tryCommand(["docker", "info"]).then(
    (result) => result.code === 0,
    () => false,
  );
}

if (import.meta.main)
  await runMain(async () => {
    const images = await buildImages(process.argv.includes("--load") ? await openCluster() : undefined);
    for (const target of TARGETS) say(`${images[target].reference}  ${images[target].archive}`);
  });
