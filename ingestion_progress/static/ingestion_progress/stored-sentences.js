// @ts-check
/**
 * Texts that are stored and sent in English: reasons, warnings, lines of the log. Those that have
 * the template of a stored sentence are shown in the language of the page, as
 * `stored_sentences.py` does it.
 */

import { storedSentences } from "./gettext.js";

/** Details that are stored sentences themselves. */
const NESTED = new Set(["reason", "service", "by"]);
const MAX_NESTING = 4;
/** Longer texts are shown as they are. */
const MAX_LENGTH = 4000;
/** A detail of the name "number" is nothing else. */
const NUMBERS = /^(?:[\d.,]{1,20}|<n>|<id>)$/;
const PLACEHOLDER = /%\((\w+)\)s/;

/**
 * @typedef {object} Template
 * @property {string[]} literals what is before, between and after the details
 * @property {string[]} names of the details
 * @property {string} translation
 */

/**
 * Of a language: the templates, the most specific ones first.
 * @type {WeakMap<Record<string, string>, Template[]>}
 */
const cut = new WeakMap();

/** @param {string} text @returns {string} in the language of the page, if it has a translation */
export function translateStored(text) {
  const sentences = storedSentences();
  return sentences && text ? translate(text, templates(sentences), MAX_NESTING) : text;
}

/**
 * @param {string} text
 * @param {Template[]} known
 * @param {number} nesting
 * @returns {string}
 */
function translate(text, known, nesting) {
  if (!nesting || text.length > MAX_LENGTH) return text;
  for (const template of known) {
    const details = detailsOf(text, template);
    if (!details) continue;
    return template.translation.replace(new RegExp(PLACEHOLDER, "g"), (_, name) =>
      NESTED.has(name) ? translate(details[name], known, nesting - 1) : details[name],
    );
  }
  return text;
}

/**
 * The details of a text that has this template, or null. A detail ends where the next literal is
 * found first, so the time is linear.
 * @param {string} text
 * @param {Template} template
 */
function detailsOf(text, { literals, names }) {
  const first = literals[0];
  const last = literals[literals.length - 1];
  /** @type {Record<string, string>} */
  const details = {};
  if (!names.length) return text === first ? details : null;
  if (!text.startsWith(first) || !text.endsWith(last)) return null;
  const end = text.length - last.length;
  let start = first.length;
  for (const [index, name] of names.entries()) {
    const literal = index === names.length - 1 ? "" : literals[index + 1];
    const found = literal ? text.slice(0, Math.max(end, 0)).indexOf(literal, start + 1) : end;
    const detail = text.slice(start, found);
    if (found <= start || (name === "number" && !NUMBERS.test(detail))) return null;
    details[name] = detail;
    start = found + literal.length;
  }
  return details;
}

/** @param {Record<string, string>} sentences translations by English template */
function templates(sentences) {
  let found = cut.get(sentences);
  if (!found) {
    found = Object.entries(sentences).map(([text, translation]) => {
      const parts = text.split(PLACEHOLDER);
      const literals = parts.filter((_, index) => index % 2 === 0);
      return { literals, names: parts.filter((_, index) => index % 2), translation };
    });
    found.sort((a, b) => length(b) - length(a));
    cut.set(sentences, found);
  }
  return found;
}

/** @param {Template} template */
function length({ literals }) {
  return literals.join("").length;
}
