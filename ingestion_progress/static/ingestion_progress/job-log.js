// @ts-check
/**
 * The log of a job's page: new lines as they are written, earlier ones on request, a filter and a
 * search over all of them. The list scrolls from its end, so the newest line stays in view.
 */

import { element, fill, localiseTimes } from "./dom.js";
import { count } from "./format.js";
import { gettext } from "./gettext.js";
import { label } from "./names.js";
import { translateStored } from "./stored-sentences.js";

/**
 * @typedef {object} LogLine
 * @property {number} id
 * @property {string} at
 * @property {"info" | "warning" | "error"} level
 * @property {string} stage
 * @property {string} item
 * @property {string} message
 */

const MIN_INTERVAL_MS = 500;
const SEARCH_DELAY_MS = 250;
const PAGE = 100;
/** Lines that stay on the page; older ones are asked for again. */
const MAX_SHOWN = 2_000;

export class JobLog {
  #known = 0;
  #isBusy = false;
  #isBehind = false;
  /** Numbers the requests; an answer to an earlier one is dropped. */
  #filterNumber = 0;

  /** @param {HTMLElement} root the card of the log */
  constructor(root) {
    this.root = root;
    this.list = /** @type {HTMLElement} */ (root.querySelector("[data-list='log']"));
    this.template = root.querySelector("template")?.innerHTML ?? "";
    this.#known = Number(root.dataset.count);
    /** @type {HTMLElement | null} */
    const tools = root.querySelector(".log-tools");
    if (tools) tools.hidden = false;
    root.querySelector("[data-log='level']")?.addEventListener("change", () => void this.#reload());
    let timer = 0;
    root.querySelector("[data-log='search']")?.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => void this.#reload(), SEARCH_DELAY_MS);
    });
    root.querySelector("[data-log='earlier']")?.addEventListener("click", () => void this.#earlier());
    this.#showNote();
    void this.#showLinked();
  }

  /** Requests the lines that are not shown yet. @param {number} written in all */
  update(written) {
    if (written === this.#known) return;
    this.#known = written;
    this.#isBehind = true;
    if (!this.#isBusy) void this.#follow();
  }

  async #follow() {
    this.#isBusy = true;
    while (this.#isBehind) {
      this.#isBehind = false;
      const found = await this.#request({ after: this.#lastId() });
      if (!found) continue;
      this.#append(found);
      this.#isBehind ||= found.length === PAGE;
      await new Promise((resolve) => setTimeout(resolve, MIN_INTERVAL_MS));
    }
    this.#isBusy = false;
  }

  async #reload() {
    this.#filterNumber += 1;
    const found = await this.#request({ newest: true });
    if (!found) return;
    this.list.replaceChildren();
    this.#append(found);
  }

  async #earlier() {
    const found = await this.#request({ newest: true, before: this.#firstId() });
    if (!found) return;
    this.list.prepend(...found.map((line) => this.#row(line)));
    this.#showNote(found.length < PAGE);
  }

  /** A link to a line that is older than those on the page. */
  async #showLinked() {
    const linked = Number(/^#log-(\d+)$/.exec(location.hash)?.[1]);
    while (linked && linked < this.#firstId()) {
      const before = this.#firstId();
      await this.#earlier();
      if (this.#firstId() === before || this.list.childElementCount > MAX_SHOWN) break;
    }
    const row = linked ? document.getElementById(`log-${linked}`) : null;
    row?.setAttribute("aria-current", "true"); // `:target` is not set for a row that came later
    row?.scrollIntoView({ block: "center" });
  }

  /** @param {LogLine[]} lines */
  #append(lines) {
    const shown = lines.filter(({ id }) => !document.getElementById(`log-${id}`));
    this.list.append(...shown.map((line) => this.#row(line)));
    while (this.list.childElementCount > MAX_SHOWN) this.list.firstElementChild?.remove();
    this.#showNote();
  }

  /** @param {LogLine} line */
  #row({ id, at, level, stage, item, message }) {
    const row = element(this.template);
    row.id = `log-${id}`;
    row.dataset.level = level;
    row.querySelector("a")?.setAttribute("href", `#log-${id}`);
    row.querySelector("time")?.setAttribute("datetime", at);
    const where = [stage && label(stage), translateStored(item)].filter(Boolean).join(" · ");
    fill(row, {
      "log.level": gettext(label(level)),
      "log.where": where,
      "log.message": translateStored(message),
    });
    localiseTimes(row);
    return row;
  }

  /**
   * Lines by the present filter; null if there is no answer, or the filter has changed meanwhile.
   * @param {Record<string, string | number | boolean>} range
   * @returns {Promise<LogLine[] | null>}
   */
  async #request(range) {
    const number = this.#filterNumber;
    const url = new URL(this.root.dataset.events ?? "", location.href);
    const filters = { level: this.#value("level"), search: this.#value("search") };
    for (const [name, value] of Object.entries({ limit: PAGE, ...range, ...filters })) {
      if (value !== "") url.searchParams.set(name, String(value));
    }
    const response = await fetch(url).catch(() => null);
    if (!response?.ok || number !== this.#filterNumber) return null;
    return (await response.json()).items;
  }

  /** @param {string} name */
  #value(name) {
    /** @type {HTMLInputElement | HTMLSelectElement | null} */
    const field = this.root.querySelector(`[data-log="${name}"]`);
    return field?.value.trim() ?? "";
  }

  #firstId() {
    return idOf(this.list.firstElementChild) || Number.MAX_SAFE_INTEGER;
  }

  #lastId() {
    return idOf(this.list.lastElementChild);
  }

  #showNote(isComplete = false) {
    const shown = this.list.childElementCount;
    const isFiltered = Boolean(this.#value("level") || this.#value("search"));
    const isAll = isComplete || (!isFiltered && shown >= this.#known);
    const numbers = { number: count(shown), total: count(this.#known) };
    const of = isFiltered
      ? gettext("%(number)s shown", numbers)
      : gettext("The newest %(number)s of %(total)s", numbers);
    fill(this.root, { "log.note": isAll && !isFiltered ? "" : of });
    /** @type {HTMLElement | null} */
    const earlier = this.root.querySelector("[data-log='earlier']");
    if (earlier) earlier.hidden = isAll || shown === 0;
    /** @type {HTMLElement | null} */
    const empty = this.root.querySelector(".empty");
    if (empty) empty.hidden = shown > 0;
  }
}

/** @param {Element | null} row */
function idOf(row) {
  return Number(row?.id.replace("log-", "") ?? 0);
}
