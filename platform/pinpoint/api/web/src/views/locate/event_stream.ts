/** Server-sent events (WHATWG HTML, 9.2.6) of a response that arrives piece by piece. */

export interface ServerEvent {
  name: string;
  data: string;
}

/** Parser of one stream. */
export class EventStreamParser {
  #offset = 0;

  /** Events that `text`, all of the stream so far, has since the last call. */
  readNew(text: string): ServerEvent[] {
    const events: ServerEvent[] = [];
    for (;;) {
      const rest = text.slice(this.#offset);
      const end = /\r\n\r\n|\n\n|\r\r/.exec(rest);
      if (end === null) {
        return events;
      }
      this.#offset += end.index + end[0].length;
      const event = parseEvent(rest.slice(0, end.index));
      if (event !== null) {
        events.push(event);
      }
    }
  }
}

/** Parse one block of lines; null for a block without data, such as a comment that keeps a line open. */
function parseEvent(block: string): ServerEvent | null {
  let name = "message";
  const data: string[] = [];
  for (const line of block.split(/\r\n|\n|\r/)) {
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") {
      name = value;
    } else if (field === "data") {
      data.push(value);
    }
  }
  return data.length === 0 ? null : { name, data: data.join("\n") };
}
