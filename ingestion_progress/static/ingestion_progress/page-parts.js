// @ts-check
/** Parts of a page that the stream does not send: taken from the page as the server renders it now. */

import { morph } from "./morph.js";

/**
 * Makes the elements with these ids like those of the newly rendered page.
 * @param {Document} fresh
 * @param {string[]} ids
 */
export function updateParts(fresh, ids) {
  for (const id of ids) {
    const [shown, newest] = [document.getElementById(id), fresh.getElementById(id)];
    if (shown && newest) morph(shown, newest);
  }
}
