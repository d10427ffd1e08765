import { createOpenResponses } from "@ai-sdk/open-responses";
import { createOpenAI } from "@ai-sdk/openai";
import { ChatOpenAI } from "@langchain/openai";
import { tool as langchainTool } from "@langchain/core/tools";
import { Agent, OpenAIProvider, Runner, tool as agentTool } from "@openai/agents";
import { generateText, isStepCount, type LanguageModel, streamText, tool as aiTool } from "ai";
import OpenAI from "openai";
import { z } from "zod";

const APIS = ["chat", "responses"] as const;

type Api = (typeof APIS)[number];

/** What a test asks of every client: a question over one of the two interfaces. */
export interface Question {
  readonly api: Api;
  readonly model: string;
  readonly text: string;
}

/** A client that we did not write, in the few words that the tests need. */
export interface ClientKit {
  /** The whole answer. */
  ask(question: Question): Promise<string>;
  /** The pieces of a streamed answer. */
  stream(question: Question): Promise<string[]>;
  /** Asks with the tool `stock`, runs it as asked, and gives the last answer. */
  useTool(question: Question, stock: (sku: string) => string): Promise<string>;
}

interface KitOptions {
  readonly baseURL: string;
  readonly apiKey: string;
  readonly maxRetries: number;
  /** Beside the client's own. */
  readonly headers?: Record<string, string>;
}

export type MakeKit = (options: KitOptions) => ClientKit;

const DESCRIPTION = "Items in stock";
const stockSchema = z.object({ sku: z.string() });

/** Both the client of its kit and what others are built upon. */
const clientOf = ({ headers, ...options }: KitOptions): OpenAI =>
  new OpenAI({ ...options, ...(headers === undefined ? {} : { defaultHeaders: headers }) });

const openaiKit: MakeKit = (options) => {
  const client = clientOf(options);
  return {
    async ask({ api, model, text }) {
      if (api === "responses") return (await client.responses.create({ model, input: text })).output_text;
      const messages = [{ role: "user", content: text } as const];
      return (await client.chat.completions.create({ model, messages })).choices[0]?.message.content ?? "";
    },
    async stream({ api, model, text }) {
      const pieces: string[] = [];
      if (api === "responses") {
        const stream = await client.responses.create({ model, input: text, stream: true });
        for await (const event of stream) if (event.type === "response.output_text.delta") pieces.push(event.delta);
        return pieces;
      }
      const messages = [{ role: "user", content: text } as const];
      const stream = await client.chat.completions.create({ model, messages, stream: true });
      for await (const chunk of stream) pieces.push(chunk.choices[0]?.delta.content ?? "");
      return pieces.filter((piece) => piece !== "");
    },
    async useTool({ model, text }, stock) {
      const runner = client.chat.completions.runTools({
        model,
        messages: [{ role: "user", content: text }],
        tools: [
          {
            type: "function",
            function: {
              name: "stock",
              description: DESCRIPTION,
              parameters: { type: "object", properties: { sku: { type: "string" } }, required: ["sku"] },
              parse: (given: string) => stockSchema.parse(JSON.parse(given)),
              function: ({ sku }: { sku: string }) => stock(sku),
            },
          },
        ],
      });
      return (await runner.finalContent()) ?? "";
    },
  };
};

/** The two providers of the AI SDK differ in how they name a model. */
function aiSdkKit(maxRetries: number, modelOf: (question: Question) => LanguageModel): ClientKit {
  const callOf = (question: Question) => ({ model: modelOf(question), prompt: question.text, maxRetries });
  return {
    ask: async (question) => (await generateText(callOf(question))).text,
    async stream(question) {
      const errors: unknown[] = [];
      const onError = ({ error }: { error: unknown }): void => void errors.push(error);
      const result = streamText({ ...callOf(question), onError });
      const pieces: string[] = [];
      for await (const piece of result.textStream) pieces.push(piece);
      if (errors.length > 0) throw errors[0];
      return pieces;
    },
    async useTool(question, stock) {
      const tools = {
        stock: aiTool({
          description: DESCRIPTION,
          inputSchema: stockSchema,
          execute: ({ sku }) => Promise.resolve(stock(sku)),
        }),
      };
      return (await generateText({ ...callOf(question), tools, stopWhen: isStepCount(3) })).text;
    },
  };
}

const aiSdkOpenAIKit: MakeKit = ({ maxRetries, ...options }) => {
  const provider = createOpenAI(options);
  return aiSdkKit(maxRetries, ({ api, model }) => (api === "chat" ? provider.chat(model) : provider.responses(model)));
};

const openResponsesKit: MakeKit = ({ baseURL, maxRetries, ...options }) => {
  const provider = createOpenResponses({ ...options, name: "supercargo", url: `${baseURL}/responses` });
  return aiSdkKit(maxRetries, ({ model }) => provider(model));
};

const langchainKit: MakeKit = ({ baseURL, apiKey, maxRetries, headers = {} }) => {
  const configuration = { baseURL, defaultHeaders: headers };
  const modelOf = ({ api, model }: Question): ChatOpenAI =>
    new ChatOpenAI({ model, apiKey, maxRetries, configuration, useResponsesApi: api === "responses" });
  return {
    ask: async (question) => (await modelOf(question).invoke(question.text)).text,
    async stream(question) {
      const pieces: string[] = [];
      for await (const chunk of await modelOf(question).stream(question.text)) pieces.push(chunk.text);
      return pieces.filter((piece) => piece !== "");
    },
    async useTool(question, stock) {
      const tool = langchainTool(({ sku }) => stock(sku), {
        name: "stock",
        description: DESCRIPTION,
        schema: stockSchema,
      });
      const model = modelOf(question).bindTools([tool]);
      const asked = await model.invoke(question.text);
      const results = await Promise.all(
        (asked.tool_calls ?? []).map((call) => tool.invoke({ ...call, type: "tool_call" })),
      );
      return (await model.invoke([{ role: "user", content: question.text }, asked, ...results])).text;
    },
  };
};

const agentsKit: MakeKit = (options) => {
  const runnerOf = ({ api }: Question): Runner =>
    new Runner({
      modelProvider: new OpenAIProvider({ openAIClient: clientOf(options), useResponses: api === "responses" }),
      tracingDisabled: true,
    });
  const agentOf = ({ model }: Question, tools: ReturnType<typeof agentTool>[] = []) =>
    new Agent({ name: "clerk", model, tools });
  return {
    async ask(question) {
      return String((await runnerOf(question).run(agentOf(question), question.text)).finalOutput);
    },
    async stream(question) {
      const pieces: string[] = [];
      const result = await runnerOf(question).run(agentOf(question), question.text, { stream: true });
      for await (const piece of result.toTextStream({ compatibleWithNodeStreams: false })) pieces.push(String(piece));
      await result.completed;
      return pieces;
    },
    async useTool(question, stock) {
      const tool = agentTool({
        name: "stock",
        description: DESCRIPTION,
        parameters: stockSchema,
        execute: ({ sku }) => Promise.resolve(stock(sku)),
      });
      return String((await runnerOf(question).run(agentOf(question, [tool]), question.text)).finalOutput);
    },
  };
};

interface KnownClient {
  readonly make: MakeKit;
  /** The interfaces that it knows. */
  readonly apis: readonly Api[];
  /** Asks once where a minute heals nothing: the AI SDK goes on by waits of its own. */
  readonly obeysLongWaits: boolean;
}

/** The clients that people use most; each goes its own way over the wire. */
export const CLIENT_KITS: Readonly<Record<string, KnownClient>> = {
  openai: { make: openaiKit, apis: APIS, obeysLongWaits: true },
  "@ai-sdk/openai": { make: aiSdkOpenAIKit, apis: APIS, obeysLongWaits: false },
  "@ai-sdk/open-responses": { make: openResponsesKit, apis: ["responses"], obeysLongWaits: false },
  "@langchain/openai": { make: langchainKit, apis: APIS, obeysLongWaits: true },
  "@openai/agents": { make: agentsKit, apis: APIS, obeysLongWaits: true },
};

/**
 * Status and code that an error of any of the clients carries: itself, in the body of the answer, or in the error that it tells
 * of. `@ai-sdk/open-responses` parses no error whose `param` is null, as OpenAI's own often is: the body alone has its code.
 */
export function toldBy(error: unknown): string | undefined {
  const found = clientErrorSchema.safeParse(error).data;
  if (found === undefined) return undefined;
  const status = found.status ?? found.statusCode;
  if (status !== undefined) return `${status} ${found.code ?? /"code":"(\w+)"/.exec(found.responseBody ?? "")?.[1]}`;
  return toldBy(found.lastError) ?? toldBy(found.cause);
}

const clientErrorSchema = z.object({
  status: z.number().optional(),
  statusCode: z.number().optional(),
  code: z.string().nullish(),
  responseBody: z.string().nullish(),
  lastError: z.unknown().optional(),
  cause: z.unknown().optional(),
});
