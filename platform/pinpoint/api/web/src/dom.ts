/** Creation of elements. Texts become text nodes, so that a name with markup is shown as text. */

export type Child = Node | string | number | null | undefined | false;

/**
 * Properties of an element (`disabled`, `value`, `href`), attributes that are no property
 * (`aria-label`), listeners (`onclick`), and `class`, `dataset` and `style`. `style` sets properties
 * by script, which the page's policy allows. `null` leaves a value out.
 */
export interface ElementProperties {
  class?: string;
  dataset?: Record<string, string>;
  style?: Record<string, string>;
  [name: string]: unknown;
}

type ElementOf<Selector extends string> = Selector extends `${infer Tag}.${string}`
  ? ElementOf<Tag>
  : Selector extends keyof HTMLElementTagNameMap
    ? HTMLElementTagNameMap[Selector]
    : HTMLElement;

/**
 * Create an HTML element. `selector` is its tag with its classes (`p.muted`); `parts` are properties
 * and children, in any order. Children that are null or false are left out. A button sends no form
 * unless its `type` is `submit`.
 */
export function createElement<Selector extends string>(
  selector: Selector,
  ...parts: (ElementProperties | Child | readonly Child[])[]
): ElementOf<Selector> {
  const [tag = "", ...classes] = selector.split(".");
  const element = document.createElement(tag);
  element.classList.add(...classes);
  if (tag === "button") {
    element.setAttribute("type", tag);
  }
  for (const part of parts.flat() as (ElementProperties | Child)[]) {
    if (typeof part === "object" && part !== null && !(part instanceof Node)) {
      applyProperties(element, part);
    } else {
      appendChildren(element, [part]);
    }
  }
  return element as ElementOf<Selector>;
}

/** Create an SVG element with its attributes and children. */
export function createSvgElement<Tag extends keyof SVGElementTagNameMap>(
  tag: Tag,
  attributes: Record<string, string | number> = {},
  ...children: Child[]
): SVGElementTagNameMap[Tag] {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, String(value));
  }
  appendChildren(element, children);
  return element;
}

/** Replace all children of an element. */
export function replaceChildren(element: Element, ...children: Child[]): void {
  element.replaceChildren();
  appendChildren(element, children);
}

function appendChildren(element: Element, children: Child[]): void {
  for (const child of children) {
    if (child !== null && child !== undefined && child !== false) {
      element.append(child instanceof Node ? child : String(child));
    }
  }
}

/** Properties and attributes whose value would be parsed as markup or as a script. */
const markupNames = new Set(["innerhtml", "outerhtml", "srcdoc"]);
/** Properties that are read-only; the attribute of the same name is set. */
const attributeNames = new Set(["list", "form"]);

function applyProperties(element: HTMLElement, properties: ElementProperties): void {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) {
      continue;
    }
    if (name === "class") {
      element.className = String(value);
    } else if (name === "dataset") {
      Object.assign(element.dataset, value);
    } else if (name === "style") {
      for (const [property, text] of Object.entries(value as Record<string, string>)) {
        element.style.setProperty(property, text);
      }
    } else if (name.startsWith("on")) {
      element.addEventListener(name.slice(2), value as EventListener);
    } else if (markupNames.has(name.toLowerCase())) {
      throw new TypeError(`${name} would parse text as markup`);
    } else if (name in element && !attributeNames.has(name)) {
      (element as unknown as Record<string, unknown>)[name] = value;
    } else if (value !== false || name.startsWith("aria-")) {
      element.setAttribute(name, value === true && !name.startsWith("aria-") ? "" : String(value));
    }
  }
}
