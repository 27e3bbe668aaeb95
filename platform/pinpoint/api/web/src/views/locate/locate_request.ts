/** Sends a query and follows its stages. */

import { type ApiClient, ApiError } from "../../api_client";
import type { Answer } from "./answer_types";
import { EventStreamParser } from "./event_stream";

export interface LocateProgress {
  /** Bytes of the photos that were sent, of all. */
  onSent(sentBytes: number, totalBytes: number): void;
  /** The server has begun a stage. */
  onStage(name: string): void;
}

const accept = "text/event-stream, application/json;q=0.9";

/** Locate photos. A server that sends no events answers in JSON, without stages. */
export async function requestAnswer(
  client: ApiClient,
  form: FormData,
  { onSent, onStage }: LocateProgress,
  signal: AbortSignal,
): Promise<Answer> {
  const parser = new EventStreamParser();
  let answer: Answer | null = null;
  let problem: Record<string, unknown> | null = null;
  const readEvents = (text: string) => {
    for (const { name, data } of text.startsWith("{") ? [] : parser.readNew(text)) {
      if (name === "stage") {
        onStage((JSON.parse(data) as { name: string }).name);
      } else if (name === "answer") {
        answer = JSON.parse(data) as Answer;
      } else if (name === "problem") {
        problem = JSON.parse(data) as Record<string, unknown>;
      }
    }
  };
  const listeners = { onProgress: onSent, onText: readEvents };
  const text = await client.uploadForText("v1/locate", form, listeners, signal, { Accept: accept });
  if (text.startsWith("{")) {
    return JSON.parse(text) as Answer;
  }
  readEvents(text);
  if (problem !== null) {
    throw makeError(problem);
  }
  if (answer === null) {
    throw new ApiError(0, "", "");
  }
  return answer;
}

function makeError(problem: Record<string, unknown>): ApiError {
  const read = (name: string) => (typeof problem[name] === "string" ? (problem[name] as string) : "");
  const status = typeof problem["status"] === "number" ? problem["status"] : 500;
  return new ApiError(status, read("title"), read("detail"), read("request_id") || null, null, problem);
}
