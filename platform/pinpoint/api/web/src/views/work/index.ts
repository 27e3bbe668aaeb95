import type { ViewDefinition } from "../../context";
import { createElement } from "../../dom";
import { strings } from "../../strings";

export const view: ViewDefinition = {
  id: "work",
  title: strings.work.title,
  mount(panel) {
    panel.append(createElement("h1", {}, strings.work.title));
    return { update() {}, dispose() {} };
  },
};
