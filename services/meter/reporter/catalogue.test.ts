import { expect, it } from "vitest";
import { startWith } from "../../../test/catalogue/start.ts";
import { refusalOf, WRONG_CATALOGUES } from "../../../test/catalogue/wrong.ts";
import { readEnvironment, readTerms } from "./config.ts";

const environment = readEnvironment({ SUPERCARGO_POD_NAME: "reporter-0", SUPERCARGO_POD_NAMESPACE: "supercargo" });

it.each(WRONG_CATALOGUES)("the reporter refuses $what before anything runs", (wrong) => {
  expect(() => readTerms(environment, wrong.text)).toThrow(expect.objectContaining({ message: refusalOf(wrong) }));
});

it("the reporter's process ends with the reason, a line for each problem, and nothing else", async () => {
  for (const wrong of WRONG_CATALOGUES.filter(({ what }) => ["several at once", "two documents"].includes(what)))
    expect(await startWith("services/meter/reporter/main.ts", wrong.text)).toEqual({
      code: 1,
      stdout: "",
      stderr: `${refusalOf(wrong)}\n`,
    });
});
