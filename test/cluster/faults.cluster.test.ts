import { afterAll, afterEach, beforeAll, describe } from "vitest";
import { clusterFaults } from "./faults/cluster-faults.ts";
import { clearFaults } from "./faults/emulator-faults.ts";
import { type FaultWorld, openFaultWorld } from "./faults/fault-world.ts";
import { marketplaceFaults } from "./faults/marketplace-faults.ts";
import { planFaults } from "./faults/plan-faults.ts";
import { reporterFaults } from "./faults/reporter-faults.ts";

let world: FaultWorld;

beforeAll(async () => {
  world = await openFaultWorld();
});

// A fault that a failed test has left behind would fail all that follow.
afterEach(() => clearFaults(world));

afterAll(() => world?.close());

// One world for all: what one fault leaves wrong, every later one sees, for the books are held exact from the first hour on.
describe("every unit exactly once", () => {
  describe("the reporters fail", () => reporterFaults(() => world));
  describe("the cluster fails", () => clusterFaults(() => world));
  describe("the Marketplace fails", () => marketplaceFaults(() => world));
  describe("the plan changes", () => planFaults(() => world));
});
