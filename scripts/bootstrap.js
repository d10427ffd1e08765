// Runs on whatever Node a fresh machine has (20 or newer): brings Node 24 and the locked dependencies, then goes on
// under Node 24 with scripts/<command>.ts, or with the .ts file that is named. Plain JavaScript and nothing but node:*, as nothing else is installed yet.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const NODE_VERSION = "24.21.0";
const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const [command = "start", ...rest] = process.argv.slice(2);
const script = command.endsWith(".ts") ? command : join("scripts", `${command}.ts`);

try {
  const nodeFolder = ensureNode();
  const env = { ...process.env, PATH: `${nodeFolder}:${process.env.PATH}` };
  ensureDependencies(env);
  const run = spawnSync(join(nodeFolder, "node"), [script, ...rest], {
    cwd: root,
    env,
    stdio: "inherit",
  });
  process.exit(run.status ?? 1);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}

/** The folder of a Node that is new enough: the running one, or npm's package of the binary, fetched once. */
function ensureNode() {
  if (Number(process.versions.node.split(".")[0]) >= 24) return dirname(process.execPath);
  const packageName = `node-${process.platform}-${process.arch}`;
  const folder = join(root, ".node", "node_modules", packageName, "bin");
  if (existsSync(join(folder, "node"))) return withNpm(folder);
  step(`Fetching Node ${NODE_VERSION} (the system has ${process.version}), once`, () =>
    npm(
      ["install", "--prefix", ".node", "--no-save", "--no-package-lock", `${packageName}@${NODE_VERSION}`],
      process.env,
    ),
  );
  if (!existsSync(join(folder, "node")))
    throw new Error(
      `Cannot find Node ${NODE_VERSION} as ${packageName} brought none: install Node 24 and run this again`,
    );
  return withNpm(folder);
}

/** npm's own link folder: its `npm` is the system's, run by this Node. */
function withNpm(folder) {
  return existsSync(join(root, ".node", "node_modules", ".bin", "node"))
    ? join(root, ".node", "node_modules", ".bin")
    : folder;
}

/** `npm ci` when node_modules does not stem from this lockfile. */
function ensureDependencies(env) {
  const wanted = createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex");
  const stamp = join(root, "node_modules", ".supercargo-lock");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  step("Installing the locked dependencies, once", () => npm(["ci", "--ignore-scripts"], env));
  writeFileSync(stamp, wanted);
}

function npm(args, env) {
  const run = spawnSync("npm", args, { cwd: root, env, stdio: ["ignore", "pipe", "pipe"], encoding: "utf8" });
  if (run.error)
    throw new Error(`Cannot run npm as it is not on the PATH: install Node with npm (${run.error.message})`);
  if (run.status !== 0)
    throw new Error(
      `Cannot run npm ${args.slice(0, 2).join(" ")} (exit ${run.status}): check the network and the npm registry\n${run.stderr}`,
    );
}

function step(name, run) {
  const started = Date.now();
  process.stdout.write(`${name} ...`);
  run();
  process.stdout.write(` ${((Date.now() - started) / 1000).toFixed(1)} s\n`);
}
