/** Reliability diagram: stated probability against the share of right answers, as SVG. */

import { createSvgElement } from "../../dom";
import * as texts from "../../strings/quality";
import { type ReliabilityBin, formatFigure } from "./reports";

const size = 260;
const margin = 44;
const span = size - 2 * margin;

/** Draw the bins; each dot has its figures as title, and the diagram has them as text. */
export function makeReliabilityDiagram(bins: readonly ReliabilityBin[]): SVGSVGElement {
  const x = (share: number) => margin + share * span;
  const y = (share: number) => size - margin - share * span;
  const most = Math.max(...bins.map((bin) => bin.queries), 1);
  const describe = (bin: ReliabilityBin) =>
    texts.bin(formatFigure(bin.stated, "share", ""), formatFigure(bin.observed, "share", ""), bin.queries);
  const label = (text: string, attributes: Record<string, string | number>) =>
    createSvgElement("text", { class: "axis-label", ...attributes }, text);
  return createSvgElement(
    "svg",
    {
      class: "reliability",
      viewBox: `0 0 ${size} ${size}`,
      role: "img",
      "aria-label": `${texts.reliability}: ${bins.map(describe).join("; ")}`,
    },
    createSvgElement("rect", { class: "frame", x: margin, y: margin, width: span, height: span }),
    createSvgElement("line", { class: "diagonal", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }),
    ...[0, 0.5, 1].flatMap((share) => [
      label(String(share), { x: x(share), y: size - margin + 14, "text-anchor": "middle" }),
      label(String(share), { x: margin - 6, y: y(share) + 4, "text-anchor": "end" }),
    ]),
    label(texts.reliabilityAxisX, { x: x(0.5), y: size - 6, "text-anchor": "middle" }),
    label(texts.reliabilityAxisY, {
      x: -y(0.5),
      y: 11,
      "text-anchor": "middle",
      transform: "rotate(-90)",
    }),
    ...bins.map((bin) =>
      createSvgElement(
        "circle",
        { class: "bin", cx: x(bin.stated), cy: y(bin.observed), r: 3 + 5 * Math.sqrt(bin.queries / most) },
        createSvgElement("title", {}, describe(bin)),
      ),
    ),
  );
}
