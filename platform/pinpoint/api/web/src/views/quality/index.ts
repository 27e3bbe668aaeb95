import type { ViewDefinition } from "../../context";
import { createElement } from "../../dom";
import { strings } from "../../strings";

export const view: ViewDefinition = {
  id: "quality",
  title: strings.quality.title,
  mount(panel) {
    panel.append(createElement("h1", {}, strings.quality.title));
    return { update() {}, dispose() {} };
  },
};
