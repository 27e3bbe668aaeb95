/** Errors in words. */

import { ApiError } from "./api_client";
import * as texts from "./strings/shell";

/** Describe an error in one or two sentences, with its request id. */
export function describeError(error: unknown): string {
  if (!(error instanceof ApiError)) {
    const message = error instanceof Error ? error.message : String(error);
    return `${texts.unexpected} ${message}`;
  }
  if (error.status === 0) {
    return texts.unreachable;
  }
  const parts = [error.detail || error.title || texts.status(error.status)];
  if (error.retryAfterS !== null) {
    parts.push(texts.retryAfter(error.retryAfterS));
  }
  if (error.requestId !== null) {
    parts.push(texts.requestId(error.requestId));
  }
  return parts.map(endSentence).join(" ");
}

function endSentence(text: string): string {
  const sentence = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(sentence) ? sentence : `${sentence}.`;
}
