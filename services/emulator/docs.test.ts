import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { systemClock } from "#runtime/clock.ts";
import { startKit } from "./test-kit.ts";
import { defaultSwitches } from "./switches.ts";

const page = readFileSync(path.join(import.meta.dirname, "../../docs/emulator.md"), "utf8");

it("runs the example of docs/emulator.md as it is written", async () => {
  const kit = await startKit({ clock: systemClock });
  const example = /```sh\n([\s\S]*?)```/.exec(page)?.[1] ?? "";
  const env = { PATH: "/usr/bin:/bin", AZURE: kit.url, CONTROL: kit.controlUrl, IMDS: kit.imdsUrl };
  const { stdout } = await promisify(execFile)("sh", ["-eu", "-c", example], { env, timeout: 20_000 });
  expect(stdout).toContain("no answer");
  expect(stdout).toContain('"code":"Conflict"');
  expect(stdout).toMatch(/"count":1\}$/);
  expect(await kit.events()).toMatchObject([{ quantity: 5, dimension: "workflow_completed", writer: "me" }]);
  await kit.stop();
});

it.each(Object.keys(defaultSwitches))("docs/emulator.md explains the switch %s", (name) => {
  expect(page).toContain(`\`${name}\``);
});
