import type { Dispatcher, Pool } from "undici";
import type { PlannedCall } from "./plan.ts";

/** What a client saw of one answer. */
export interface SeenAnswer {
  readonly status: number;
  readonly text: string;
  /** whole: to its end. left: the client went first. broke: the connection did. */
  readonly end: "whole" | "left" | "broke";
}

/** Asks, reads, and leaves when the plan says so. Never rejects. */
export function ask(pool: Pool, call: PlannedCall, headers: Readonly<Record<string, string>>): Promise<SeenAnswer> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let status = 0;
    let bytes = 0;
    let hasLeft = false;
    const leave = (controller: Dispatcher.DispatchController): void => {
      hasLeft = true;
      controller.abort(new Error("The client leaves"));
    };
    const done = (end: SeenAnswer["end"]): void =>
      resolve({ status, text: Buffer.concat(chunks).toString("utf8"), end });
    const options: Dispatcher.DispatchOptions = {
      method: "POST",
      path: call.path,
      headers: { "content-type": "application/json", "x-request-id": call.id, ...headers },
      body: call.body,
    };
    pool.dispatch(options, {
      onRequestStart: (controller) => {
        if (call.leavesAtBytes === 0) setImmediate(leave, controller);
      },
      onResponseStart: (_, code) => void (status = code),
      onResponseData: (controller, chunk) => {
        chunks.push(chunk);
        bytes += chunk.length;
        if (call.leavesAtBytes !== undefined && bytes >= call.leavesAtBytes) leave(controller);
      },
      onResponseEnd: () => done("whole"),
      onResponseError: () => done(hasLeft ? "left" : "broke"),
    });
  });
}
