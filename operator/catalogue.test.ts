import { expect, it } from "vitest";
import { startWith } from "../test/catalogue/start.ts";
import { refusalOf, WRONG_CATALOGUES } from "../test/catalogue/wrong.ts";
import { environmentSchema, settingsOf } from "./config.ts";

const environment = environmentSchema.parse({
  SUPERCARGO_IMAGE: "supercargo",
  SUPERCARGO_POD_NAME: "operator-0",
  SUPERCARGO_POD_NAMESPACE: "supercargo",
});

it.each(WRONG_CATALOGUES)("the operator refuses $what before anything runs", (wrong) => {
  expect(() => settingsOf(environment, wrong.text)).toThrow(expect.objectContaining({ message: refusalOf(wrong) }));
});

it("the operator's process ends with the reason, a line for each problem, and nothing else", async () => {
  for (const wrong of WRONG_CATALOGUES.filter(({ what }) => ["several at once", "two documents"].includes(what)))
    expect(await startWith("operator/main.ts", wrong.text)).toEqual({
      code: 1,
      stdout: "",
      stderr: `${refusalOf(wrong)}\n`,
    });
});
