import { type ChildProcess, spawn } from "node:child_process";
import { resolve } from "node:path";
import { installPeer } from "../../scripts/bench/gateway/peers.ts";
import { freePort } from "../../scripts/bench/gateway/processes.ts";
import { waitFor } from "./probe.ts";
import type { ModelName, Models, StartTarget } from "./target.ts";

const PEERS_FOLDER = ".cache/bench/peers";
const START_MS = 30_000;

/** Portkey's gateway 1.15.2, told to retry by the upstream's header and to fall back, as its documentation says. */
export const startPortkey: StartTarget = async ({ models }) => {
  const { program, cwd } = installPeer("portkey", resolve(PEERS_FOLDER));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const child = spawn(program[0] ?? "node", [...program.slice(1), `--port=${port}`], {
    ...(cwd === undefined ? {} : { cwd }),
    env: { PATH: process.env["PATH"], TRUSTED_CUSTOM_HOSTS: "127.0.0.1" },
    stdio: "ignore",
  });
  const isUp = (): Promise<boolean> =>
    fetch(url).then(
      () => true,
      () => false,
    );
  if ((await waitFor(isUp, START_MS)) === undefined) throw new Error("Cannot probe Portkey as it must start in 30 s");
  return {
    name: "Portkey 1.15.2",
    url,
    headers: (model) => ({
      authorization: "Bearer client-key",
      "x-portkey-config": JSON.stringify(configOf(model, models)),
    }),
    isAlive: () => child.exitCode === null && child.signalCode === null,
    terminate: () => ended(child, "SIGTERM"),
    stop: async () => void (await ended(child, "SIGKILL")),
  };
};

function configOf(model: ModelName, models: Models): unknown {
  const to = (url: string): object => ({ provider: "openai", custom_host: `${url}/v1`, api_key: "model-key" });
  const retry = { attempts: 3, on_status_codes: [429], use_retry_after_header: true };
  switch (model) {
    case "one":
      return { ...to(models.first.url), retry };
    case "two":
      return { strategy: { mode: "fallback" }, targets: [to(models.first.url), to(models.second.url)] };
    case "emulated":
      return to(models.emulator.url);
  }
}

function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  return new Promise((done) => {
    if (child.exitCode !== null || child.signalCode !== null) done(child.exitCode);
    child.once("exit", (code) => done(code));
    child.kill(signal);
  });
}
