/** Writes the state whenever it changed. Without a file nothing is written. */
export interface Keeper {
  /** Resolves when all that happened before the call is on disk; rejects when it cannot be written. */
  saved(): Promise<void>;
  /** Something changed that may be lost with the process: it is saved within a second. */
  touch(): void;
  /** The last save; nothing is written after it. */
  close(): Promise<void>;
}

export const noKeeper: Keeper = {
  saved: () => Promise.resolve(),
  touch: () => undefined,
  close: () => Promise.resolve(),
};
