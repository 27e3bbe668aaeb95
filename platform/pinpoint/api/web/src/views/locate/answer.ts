/** The part of the view that shows answers; it is loaded while the first query runs. */

export { createAnswerLayers } from "./answer_layers";
export { createAnswerPanel } from "./answer_panel";
