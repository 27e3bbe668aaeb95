import type { ViewDefinition } from "../../context";
import { createElement } from "../../dom";
import { strings } from "../../strings";

export const view: ViewDefinition = {
  id: "locate",
  title: strings.locate.title,
  mount(panel) {
    panel.append(createElement("h1", {}, strings.locate.title));
    return { update() {}, dispose() {} };
  },
};
