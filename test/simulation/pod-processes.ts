import type { PodUsage } from "#core/api/pod-usage.ts";
import type { ApiModel } from "./api-model.ts";
import type { LogFate, PodWriteFault, ScrapeFault } from "./events.ts";

/** What runs in a pod: the service with its counters, and the sidecar. */
export interface PodProcesses {
  /** Counts usage of the service. False before the pod is ready: nobody asks it anything. */
  count(dimension: string, amount: bigint): boolean;
  /** Whatever the sidecar waits for is due now. */
  wake(): void;
  /** The API server's object was changed by others, or went. */
  told(object: PodUsage | undefined): void;
  /** The connection to the API server is gone. */
  cut(): void;
  /** SIGTERM: the sidecar's last words, then the end. */
  end(): Promise<void>;
  /** The end without a word. */
  stop(): void;
  /** The service's container ends and starts again on its file. */
  crashService(): void;
  /** The service shows what it had before its newest count, under the same epoch. */
  dropCounters(): void;
  crashSidecar(log: LogFate): void;
  /** The node starts again: another boot id, and of the counter file perhaps nothing. */
  reboot(fileLost: boolean): void;
}

/** What a pod's processes reach of the world. */
export interface PodDoor {
  readonly uid: string;
  readonly namespace: string;
  readonly api: ApiModel;
  nowMs(): number;
  /** The API server's clock. */
  apiNowMs(): number;
  isCut(): boolean;
  delay(land: () => void): void;
  takeWriteFault(): PodWriteFault | undefined;
  takeScrapeFault(): ScrapeFault | undefined;
}
