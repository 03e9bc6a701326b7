// @ts-check
/** Names that pipelines give in code, as people read them. `web/names.py` has the same. */

import { npgettext, pgettext } from "./gettext.js";

const ABBREVIATION_LENGTH = 3;
/** Plurals whose singular is more than the word without its "s". */
const OTHER_PLURALS = /(ss|ies|sses|xes|ches|shes)$/;

/** @param {string} name */
export function label(name) {
  const words = name.replaceAll("_", " ").replaceAll("-", " ").trim();
  if (words.length <= ABBREVIATION_LENGTH) return pgettext("name", words.toUpperCase());
  return pgettext("name", words.slice(0, 1).toUpperCase() + words.slice(1));
}

/**
 * What is counted: "page" after 1, otherwise "pages".
 * @param {string} plural
 * @param {number} number
 */
export function unit(plural, number) {
  if (!plural) return "";
  const singular = OTHER_PLURALS.test(plural) ? plural : plural.replace(/s$/, "");
  return npgettext("unit", singular, plural, number);
}
