import { defineConfig, type Plugin } from "rolldown";

/** One bundled file per process; the chart and the operator choose which one a container runs. */
const ENTRIES = {
  operator: "operator/main.ts",
  gateway: "services/gateway/main.ts",
  orchestrator: "services/orchestrator/main.ts",
  sidecar: "services/meter/sidecar/main.ts",
  reporter: "services/meter/reporter/main.ts",
  emulator: "services/emulator/main.ts",
  orders: "docs/sample/orders/server.ts",
} as const;

/** Without it Node reads each file as CommonJS first, fails, and starts again. */
const moduleType: Plugin = {
  name: "module-type",
  generateBundle() {
    this.emitFile({ type: "asset", fileName: "package.json", source: '{ "type": "module" }\n' });
  },
};

export default defineConfig(
  Object.entries(ENTRIES).map(([name, input]) => ({
    input,
    platform: "node" as const,
    plugins: [moduleType],
    // Koa's deprecation helper evaluates one constant of its own.
    checks: { eval: false },
    // A dynamic import, such as that of @azure/identity, may not split a file off.
    output: { file: `dist/${name}.js`, format: "esm" as const, codeSplitting: false },
  })),
);
