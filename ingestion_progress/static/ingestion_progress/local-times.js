// @ts-check
/** Converts server-rendered times to the browser's time zone. */

import { clock, timestamp } from "./format.js";

/** @param {ParentNode} root */
export function localiseTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const instant = new Date(time.getAttribute("datetime") ?? "");
    if (Number.isNaN(instant.getTime())) continue;
    const text = time.hasAttribute("data-clock") ? clock(instant) : timestamp(instant);
    if (time.textContent !== text) time.textContent = text;
  }
}
