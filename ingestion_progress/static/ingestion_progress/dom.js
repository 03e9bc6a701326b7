// @ts-check
/** Updates of the page that write only what differs. */

import { age, clock, moment, timestamp } from "./format.js";
import { serverNow } from "./server-clock.js";

/**
 * @param {Element} root
 * @param {Record<string, string>} fields texts by the name in `data-field`
 */
export function fill(root, fields) {
  for (const [name, text] of Object.entries(fields)) {
    for (const target of root.querySelectorAll(`[data-field="${name}"]`)) {
      if (target.textContent !== text) target.textContent = text;
    }
  }
}

/**
 * @param {Element | null} bar
 * @param {number | null} percent null: unknown
 * @param {string} [text]
 */
export function setBar(bar, percent, text = "") {
  if (!(bar instanceof HTMLProgressElement)) return;
  if (percent === null) bar.removeAttribute("value");
  else if (bar.getAttribute("value") !== String(percent)) bar.setAttribute("value", String(percent));
  if (bar.textContent !== text) bar.textContent = text;
}

/** @param {string} markup */
export function element(markup) {
  const template = document.createElement("template");
  template.innerHTML = markup.trim();
  return /** @type {HTMLElement} */ (template.content.firstElementChild);
}

/**
 * @param {Element} root
 * @param {string} list
 * @returns {HTMLElement[]}
 */
export function rows(root, list) {
  return [...root.querySelectorAll(`[data-list="${list}"] > li`)].map(
    (row) => /** @type {HTMLElement} */ (row),
  );
}

/**
 * Adds the missing rows, each after the one before it in `wanted`.
 * @param {HTMLElement} root
 * @param {string} listName
 * @param {string} key the row's `data-` attribute
 * @param {string[]} wanted
 * @param {string} markup
 */
export function syncRows(root, listName, key, wanted, markup) {
  const list = root.querySelector(`[data-list="${listName}"]`);
  const present = new Map(rows(root, listName).map((row) => [row.dataset[key], row]));
  /** @type {HTMLElement | null} */
  let previous = null;
  for (const name of wanted) {
    let row = present.get(name);
    if (!row) {
      row = element(markup);
      row.dataset[key] = name;
      if (previous) previous.after(row);
      else list?.prepend(row);
    }
    previous = row;
  }
}

/**
 * Converts server-rendered times to the browser's time zone. Those with `data-age` say how long ago
 * they were, and the time itself in their title.
 * @param {ParentNode} root
 */
export function localiseTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const instant = new Date(time.getAttribute("datetime") ?? "");
    if (Number.isNaN(instant.getTime())) continue;
    const exact = time.hasAttribute("data-clock") ? clock(instant) : timestamp(instant);
    const isAge = time.hasAttribute("data-age");
    const near = time.hasAttribute("data-moment") ? moment(instant) : exact;
    const text = isAge ? age(Math.max(0, serverNow() - instant.getTime())) : near;
    if (isAge && time.getAttribute("title") !== exact) time.setAttribute("title", exact);
    if (time.textContent !== text) time.textContent = text;
  }
}
