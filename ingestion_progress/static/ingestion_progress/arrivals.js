// @ts-check
/** Keeps the rows in place while somebody is about to use one, and says that there are new ones. */

import { ngettext } from "./gettext.js";
import { morph } from "./morph.js";

const LEAVE_MS = 400;

export class Arrivals {
  /** The groups as they will be. @type {Element | null} */
  #pending = null;
  /** @type {number | undefined} */
  #timer;

  /**
   * @param {HTMLElement} section
   * @param {() => void} onChange after rows were added, moved or removed
   */
  constructor(section, onChange) {
    this.groups = /** @type {HTMLElement} */ (section.querySelector("[data-part=groups]"));
    this.button = /** @type {HTMLButtonElement} */ (section.querySelector("[data-show-new]"));
    this.onChange = onChange;
    this.button.addEventListener("click", () => this.#showNew());
    const later = () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#showUnlessUsed(), LEAVE_MS);
    };
    this.groups.addEventListener("pointerleave", later);
    this.groups.addEventListener("focusout", later);
    addEventListener("scroll", () => this.#pending && later(), { passive: true });
  }

  /** @param {Element} wanted the groups as the server renders them now */
  update(wanted) {
    if (rowKeys(this.groups) === rowKeys(wanted)) {
      this.#apply(wanted);
    } else if (this.#isUsed()) {
      this.#pending = wanted;
      this.#updateInPlace(wanted);
      this.#announce(wanted);
    } else {
      this.#apply(wanted);
    }
  }

  /** @param {Element} wanted */
  #apply(wanted) {
    this.#pending = null;
    if (!this.button.hidden) this.button.hidden = true;
    morph(this.groups, wanted);
    this.onChange();
  }

  #showUnlessUsed() {
    if (this.#pending && !this.#isUsed()) this.#apply(this.#pending);
  }

  #showNew() {
    if (this.#pending) this.#apply(this.#pending);
    this.groups.closest("section")?.scrollIntoView({ block: "start" });
    this.groups.querySelector("a")?.focus({ preventScroll: true });
  }

  /** Would a change of the rows move what somebody points at, reads or has chosen? */
  #isUsed() {
    const isScrolled = this.groups.getBoundingClientRect().top < 0;
    const hasFocus = this.groups.contains(document.activeElement);
    const isChosen = this.groups.querySelector("input:checked") !== null;
    return isScrolled || hasFocus || isChosen || this.groups.matches(":hover");
  }

  /** @param {Element} wanted */
  #updateInPlace(wanted) {
    for (const row of wanted.querySelectorAll("li[data-key]")) {
      const shown = this.groups.querySelector(`li[data-key="${CSS.escape(row.getAttribute("data-key") ?? "")}"]`);
      if (shown) morph(shown, row);
    }
  }

  /** @param {Element} wanted */
  #announce(wanted) {
    const shown = new Set(keysOf(this.groups));
    const number = keysOf(wanted).filter((key) => !shown.has(key)).length;
    const text = ngettext("%(number)s new job ↑", "%(number)s new jobs ↑", number, { number });
    if (number && this.button.textContent !== text) this.button.textContent = text;
    if (this.button.hidden !== !number) this.button.hidden = !number;
  }
}

/** The keys of the rows of jobs; a batch has a row as well. @param {Element} groups */
function keysOf(groups) {
  return [...groups.querySelectorAll("li[data-job]")].map((row) => row.getAttribute("data-key"));
}

/** Which rows are in which group, and in which order. @param {Element} groups */
function rowKeys(groups) {
  return [...groups.querySelectorAll("[data-key]")]
    .map((each) => each.getAttribute("data-key"))
    .join("\n");
}
