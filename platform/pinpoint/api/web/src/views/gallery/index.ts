import type { ViewDefinition } from "../../context";
import { createElement } from "../../dom";
import { strings } from "../../strings";

export const view: ViewDefinition = {
  id: "gallery",
  title: strings.gallery.title,
  mount(panel) {
    panel.append(createElement("h1", {}, strings.gallery.title));
    return { update() {}, dispose() {} };
  },
};
