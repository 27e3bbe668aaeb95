/** Sends a query and follows its stages as server-sent events (WHATWG HTML, 9.2). */

import { type ApiClient, ApiError, type ProgressListener, makeError } from "../../api_client";
import type { Answer } from "./answer_types";

/**
 * Locate photos; `onStage` gets the name of each stage when it begins. A server that sends no events
 * answers in JSON, without stages.
 */
export async function requestAnswer(
  client: ApiClient,
  form: FormData,
  onSent: ProgressListener,
  onStage: (name: string) => void,
  signal: AbortSignal,
): Promise<Answer> {
  let numRead = 0;
  let answer: Answer | undefined;
  let error = new ApiError(0, "", "");
  /** Read the events that `text`, all of the answer so far, has since the last call. */
  const readEvents = (text: string) => {
    const blocks = text.replace(/\r\n?/g, "\n").split("\n\n").slice(0, -1);
    for (const block of blocks.slice(numRead)) {
      let [name, data] = ["", ""];
      for (const [, field, value = ""] of block.matchAll(/^(event|data): ?(.*)$/gm)) {
        if (field === "event") {
          name = value;
        } else {
          data += value;
        }
      }
      if (name === "stage") {
        onStage((JSON.parse(data) as { name: string }).name);
      } else if (name === "answer") {
        answer = JSON.parse(data) as Answer;
      } else if (name === "problem") {
        error = makeError(0, data);
      }
    }
    numRead = blocks.length;
  };
  const request = await client.post("v1/locate", form, {
    onProgress: onSent,
    onText: readEvents,
    signal,
    headers: { Accept: "text/event-stream, application/json;q=0.9" },
  });
  if (request.getResponseHeader("Content-Type")?.includes("json")) {
    return JSON.parse(request.responseText) as Answer;
  }
  readEvents(request.responseText);
  if (answer === undefined) {
    throw error;
  }
  return answer;
}
