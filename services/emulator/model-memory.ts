import { z } from "zod";
import type { Turn } from "./model-prompt.ts";

const count = z.int().min(0);
/** Tokens of one deployment, as they were put on the wire. */
const tokensSchema = z.strictObject({
  requests: count,
  inputTokens: count,
  outputTokens: count,
  cachedTokens: count,
  reasoningTokens: count,
});
export type TokenTally = z.output<typeof tokensSchema>;

/** Completed answers, answers cut off (client gone, or a script that dies), refusals: per deployment. */
const tallySchema = z.strictObject({
  deployment: z.string().min(1).max(256),
  completed: tokensSchema,
  cut: tokensSchema,
  /** Of the cut ones, how many the client left. */
  clientGone: count,
  refused: count,
});
type DeploymentTally = z.output<typeof tallySchema>;

/** An answer given by the control API, used once, in order. The text is written in the directives of docs/emulator.md. */
export const scriptSchema = z.strictObject({
  /** Only for this deployment; any if absent. */
  deployment: z.string().min(1).max(128).optional(),
  say: z.string().max(100_000),
});

type Script = z.output<typeof scriptSchema>;

const DEPLOYMENTS_MAX = 500;
const SCRIPTS_MAX = 1000;
const CONVERSATIONS_MAX = 256;
const CONVERSATION_BYTES_MAX = 256 * 1024;

/** What of the model outlives a restart; conversations do not. */
export const modelStateSchema = z.strictObject({
  tallies: z.array(tallySchema).max(DEPLOYMENTS_MAX + 1),
  scripts: z.array(scriptSchema).max(SCRIPTS_MAX),
});
type ModelState = z.output<typeof modelStateSchema>;

export interface ModelMemory {
  tally(deployment: string): DeploymentTally;
  tallies(): readonly DeploymentTally[];
  /** False when too many wait. */
  addScript(script: Script): boolean;
  takeScript(deployment: string): Script | undefined;
  scripts(): readonly Script[];
  /** Conversations of the Responses API by response id: the last 256, of at most 256 KiB each. */
  remember(responseId: string, turns: readonly Turn[]): void;
  recall(responseId: string): readonly Turn[] | undefined;
  state(): ModelState;
  /** Puts these tallies and scripts in place of the present ones, and forgets the conversations. */
  load(state: ModelState): void;
}

export function createModelMemory(): ModelMemory {
  const tallies = new Map<string, DeploymentTally>();
  const conversations = new Map<string, readonly Turn[]>();
  let scripts: Script[] = [];
  return {
    tally(deployment) {
      const known = tallies.has(deployment) || tallies.size < DEPLOYMENTS_MAX;
      const name = known ? deployment : "other";
      const tally = tallies.get(name) ?? createTally(name);
      tallies.set(name, tally);
      return tally;
    },
    tallies: () => [...tallies.values()],
    addScript(script) {
      if (scripts.length >= SCRIPTS_MAX) return false;
      scripts.push(script);
      return true;
    },
    takeScript(deployment) {
      const found = scripts.find((script) => script.deployment === undefined || script.deployment === deployment);
      scripts = scripts.filter((script) => script !== found);
      return found;
    },
    scripts: () => scripts,
    remember(responseId, turns) {
      const bytes = turns.reduce((sum, turn) => sum + Buffer.byteLength(turn.text), 0);
      if (bytes > CONVERSATION_BYTES_MAX) return;
      conversations.set(responseId, turns);
      const [oldest] = conversations.keys();
      if (conversations.size > CONVERSATIONS_MAX && oldest !== undefined) conversations.delete(oldest);
    },
    recall: (responseId) => conversations.get(responseId),
    state: () => ({ tallies: [...tallies.values()], scripts }),
    load(state) {
      tallies.clear();
      for (const tally of state.tallies) tallies.set(tally.deployment, structuredClone(tally));
      conversations.clear();
      scripts = [...state.scripts];
    },
  };
}

function createTally(deployment: string): DeploymentTally {
  return { deployment, completed: emptyTokens(), cut: emptyTokens(), clientGone: 0, refused: 0 };
}

function emptyTokens(): TokenTally {
  return { requests: 0, inputTokens: 0, outputTokens: 0, cachedTokens: 0, reasoningTokens: 0 };
}
