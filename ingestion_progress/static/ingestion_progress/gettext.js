// @ts-check
/**
 * Texts in the language of the page, as gettext has them: an English text is its own name.
 *
 * Translations are generated into `words/`, and only those of the page's language are loaded. Of a
 * language without translations, and of a text that has none, the English text is shown.
 */

import * as ENGLISH_MARKUP from "./markup.js";
import { LANGUAGES } from "./words/languages.js";

/**
 * @typedef {object} Words
 * @property {string} language
 * @property {(number: number) => number} plural the place of a number's form
 * @property {Record<string, string | string[]>} messages with their forms where there are several
 * @property {Record<string, string>} [stored] sentences that are sent in English, by template
 * @property {Record<string, string>} markup
 */

/** @type {Words} */
const ENGLISH = {
  language: "en",
  plural: (number) => Number(number !== 1),
  messages: {},
  markup: { ...ENGLISH_MARKUP },
};

/** @type {Map<string, Words>} */
const loaded = new Map([[ENGLISH.language, ENGLISH]]);
let words = ENGLISH;

/**
 * Loads a language, of which `useLanguage` can then make use.
 * @param {string} tag as in `lang`: "de-AT" is "de" if there is no "de-AT"
 */
export async function loadLanguage(tag) {
  const language = known(tag);
  if (loaded.has(language)) return;
  const module = await LANGUAGES[language]();
  loaded.set(language, module.default);
}

/** Whether texts can be in this language at once. @param {string} tag */
export function isLoaded(tag) {
  return loaded.has(known(tag));
}

/** From now on texts are in this language, if it is loaded. @param {string} tag */
export function useLanguage(tag) {
  words = loaded.get(known(tag)) ?? ENGLISH;
}

/** The language of the texts, for the formats of `Intl`. */
export function language() {
  return words.language;
}

/** The stored sentences, for `stored-sentences.js`; none in English. */
export function storedSentences() {
  return words.stored;
}

/** The parts of the page without values, by name. */
export function markup() {
  return words.markup;
}

/**
 * @param {string} text
 * @param {Record<string, string | number>} values by the names in `%(name)s`
 */
export function gettext(text, values = {}) {
  const found = words.messages[text];
  return interpolate(typeof found === "string" ? found : text, values);
}

/**
 * @param {string} singular
 * @param {string} plural
 * @param {number} number
 * @param {Record<string, string | number>} values
 */
export function ngettext(singular, plural, number, values = {}) {
  const forms = words.messages[singular];
  const found = Array.isArray(forms) ? forms[words.plural(number)] : undefined;
  return interpolate(found ?? (number === 1 ? singular : plural), values);
}

/**
 * @param {string} context
 * @param {string} singular
 * @param {string} plural
 * @param {number} number
 */
export function npgettext(context, singular, plural, number) {
  const forms = words.messages[`${context}\u0004${singular}`];
  const found = Array.isArray(forms) ? forms[words.plural(number)] : undefined;
  return found ?? (number === 1 ? singular : plural);
}

/**
 * @param {string} context
 * @param {string} text
 */
export function pgettext(context, text) {
  const found = words.messages[`${context}\u0004${text}`];
  return typeof found === "string" ? found : text;
}

/**
 * @param {string} text
 * @param {Record<string, string | number>} values
 */
function interpolate(text, values) {
  return text.replaceAll(/%(?:\((\w+)\)s|%)/g, (_, name) => (name ? String(values[name]) : "%"));
}

/** @param {string} tag */
function known(tag) {
  const exact = tag.toLowerCase();
  const found = [exact, exact.split("-")[0]].find((each) => each in LANGUAGES);
  return found ?? ENGLISH.language;
}

const pageLanguage = globalThis.document?.documentElement.lang ?? "";
await loadLanguage(pageLanguage);
useLanguage(pageLanguage);
