import { defineConfig } from "vitest/config";

// Three projects by what they need: nothing, an API server, a whole cluster. The suffix of the file says which.
const apiServer = "**/*.api.test.ts";
const cluster = "**/*.cluster.test.ts";
const ignored = ["**/node_modules/**", "**/.cache/**", "**/.node/**", "**/dist/**"];

export default defineConfig({
  test: {
    coverage: { provider: "v8", include: ["operator/**/*.ts", "services/**/*.ts"] },
    projects: [
      {
        test: {
          name: "unit",
          include: ["**/*.test.ts"],
          exclude: [...ignored, apiServer, cluster],
          testTimeout: 30_000,
        },
      },
      {
        test: {
          name: "api",
          include: [apiServer],
          exclude: ignored,
          testTimeout: 120_000,
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: "cluster",
          include: [cluster],
          exclude: ignored,
          testTimeout: 300_000,
          hookTimeout: 1_800_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
