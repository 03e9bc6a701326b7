// @ts-check
/** One line about all uploads, with a bar while they are sent; below it only what was refused. */

import { fill, setBar } from "../ingestion_progress/dom.js";
import { count, percent } from "../ingestion_progress/format.js";
import { gettext, ngettext } from "../ingestion_progress/gettext.js";

/** @typedef {import("./upload-queue.js").UploadQueue} UploadQueue */

/** @param {number} number */
function files(number) {
  return ngettext("%(number)s file", "%(number)s files", number, { number: count(number) });
}

export class UploadSummary {
  #wasBusy = false;

  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
  }

  /**
   * @param {UploadQueue} queue
   * @param {number} skipped
   */
  render(queue, skipped) {
    const { uploads, isBusy } = queue;
    this.root.hidden = !uploads.length && !skipped;
    fill(this.root, { "upload.summary": isBusy ? sending(queue) : result(queue, skipped) });
    const bytes = (/** @type {"size" | "sent"} */ name) =>
      uploads.reduce((sum, each) => sum + (name === "size" ? each.file.size : each.sent), 0);
    const sent = bytes("size") ? (bytes("sent") / bytes("size")) * 100 : 0;
    const bar = /** @type {HTMLElement} */ (this.root.querySelector("progress"));
    bar.hidden = !isBusy;
    setBar(bar, sent, percent(sent));
    this.#showButtons(queue);
    this.#showLink(queue);
    this.#showRefused(queue);
    this.#announce(queue, skipped);
  }

  /** @param {UploadQueue} queue */
  #showButtons(queue) {
    const shown = { stop: queue.isBusy, retry: !queue.isBusy && queue.count("broken") > 0 };
    for (const [name, isShown] of Object.entries(shown)) {
      const button = /** @type {HTMLElement} */ (this.root.querySelector(`[data-upload="${name}"]`));
      button.hidden = !isShown;
    }
  }

  /** The link to the batch, or to the only job. @param {UploadQueue} queue */
  #showLink({ uploads }) {
    const link = /** @type {HTMLAnchorElement} */ (this.root.querySelector("a"));
    const accepted = uploads.filter(({ page }) => page);
    const batch = uploads.findLast((each) => each.batch && each.state === "uploaded")?.batch;
    link.hidden = !accepted.length || (accepted.length > 1 && !batch);
    if (link.hidden) return;
    const isJob = accepted.length === 1;
    link.href = isJob ? accepted[0].page : `?batch=${encodeURIComponent(batch ?? "")}`;
    const text = isJob ? gettext("Open job") : gettext("Open batch");
    if (link.textContent !== text) link.textContent = text;
  }

  /** @param {UploadQueue} queue */
  #showRefused(queue) {
    const refused = queue.uploads.filter(({ state }) => state === "refused" || state === "broken");
    const details = /** @type {HTMLDetailsElement} */ (this.root.querySelector("details"));
    const list = /** @type {HTMLElement} */ (details.querySelector("ul"));
    details.hidden = !refused.length;
    fill(details, { "upload.refused": gettext("%(files)s refused", { files: files(refused.length) }) });
    if (list.childElementCount > refused.length) list.replaceChildren();
    for (const upload of refused.slice(list.childElementCount)) list.append(item(upload));
  }

  /** @param {UploadQueue} queue @param {number} skipped */
  #announce(queue, skipped) {
    if (queue.isBusy === this.#wasBusy && queue.isBusy) return;
    const region = document.getElementById("upload-announcement");
    const text = queue.isBusy
      ? gettext("Uploading %(files)s", { files: files(queue.uploads.length) })
      : result(queue, skipped);
    if (region && region.textContent !== text) region.textContent = text;
    this.#wasBusy = queue.isBusy;
  }
}

/** @param {UploadQueue} queue */
function sending(queue) {
  const left = queue.count("waiting", "running");
  const number = count(queue.uploads.length - left + 1);
  return gettext("Uploading %(number)s of %(files)s", { number, files: files(queue.uploads.length) });
}

/**
 * @param {UploadQueue} queue
 * @param {number} skipped
 */
function result(queue, skipped) {
  const known = queue.count("known");
  if (known === 1 && queue.uploads.length === 1) {
    return gettext("Nothing to do: this content was uploaded before");
  }
  const [uploaded, refused, stopped] = [
    queue.count("uploaded"),
    queue.count("refused", "broken"),
    queue.count("stopped"),
  ];
  return [
    uploaded && gettext("%(number)s uploaded", { number: count(uploaded) }),
    refused && gettext("%(number)s refused", { number: count(refused) }),
    known && gettext("%(number)s known already", { number: count(known) }),
    stopped && gettext("%(number)s stopped", { number: count(stopped) }),
    skipped && gettext("%(number)s of other formats skipped", { number: count(skipped) }),
  ]
    .filter(Boolean)
    .join(", ");
}

/** @param {import("./upload-queue.js").Upload} upload */
function item({ file, reason }) {
  const row = document.createElement("li");
  const name = document.createElement("bdi");
  name.textContent = file.webkitRelativePath || file.name;
  row.className = "upload-item";
  row.append(name, " ", reason);
  return row;
}
