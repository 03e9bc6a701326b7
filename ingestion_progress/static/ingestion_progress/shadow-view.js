// @ts-check
/** The markup of an empty `<pipeline-progress>`, in a shadow tree: pages and it do not style each other. */

import { markup } from "./gettext.js";
import { STYLES } from "./styles.js";

/** What the render functions write, and the page's own CSS may use. */
const SHOWN = /** @type {const} */ (["status", "liveness", "result", "connection"]);

/** @type {CSSStyleSheet | undefined} */
let sheet;

/**
 * The part that shows the job.
 * @param {HTMLElement} host
 * @returns {HTMLElement}
 */
export function createView(host) {
  const above = (Number(host.getAttribute("heading-level")) || 2) - 1;
  const view = document.createElement("div");
  view.className = "job-view";
  view.innerHTML = markup().JOB.replaceAll(/(?<=<\/?h)\d/g, (level) => `${Number(level) + above}`);
  const root = host.attachShadow({ mode: "open" });
  root.adoptedStyleSheets = [styleSheet()];
  root.append(view);
  return view;
}

/**
 * Makes the attributes of the element those of its view.
 * @param {HTMLElement} host
 * @param {HTMLElement} view
 */
export function mirror(host, view) {
  for (const name of SHOWN) {
    const value = view.dataset[name];
    if (value !== undefined && host.dataset[name] !== value) host.dataset[name] = value;
  }
}

/** One for all elements of the page. */
function styleSheet() {
  if (sheet) return sheet;
  try {
    // A registered length is computed where it is set: at the element, from its text size.
    CSS.registerProperty({ name: "--rem", syntax: "<length>", inherits: true, initialValue: "16px" });
  } catch {
    // Another copy of this module has registered it.
  }
  sheet = new CSSStyleSheet();
  sheet.replaceSync(`:host { --rem: 1em; }\n${STYLES}`);
  return sheet;
}
