import { localCluster } from "../test/cluster/local/cluster.ts";
import { runMain, say, step } from "./console.ts";

await runMain(async () => {
  await step("Stopping the local cluster and removing its state", () => localCluster.down());
  say("Kept: images and tools in .cache, so that the next npm start is warm. Remove .cache to free the disk.");
});
