// @ts-check
/** Uploads documents that are chosen, pasted or dropped anywhere. Without it the form is posted. */

import { gettext } from "../ingestion_progress/gettext.js";
import { filesOf, filesOfFolder } from "./dropped-files.js";
import { UploadQueue } from "./upload-queue.js";
import { UploadSummary } from "./upload-summary.js";

const REPORT_MS = 2_000;

const form = /** @type {HTMLFormElement} */ (document.getElementById("upload"));
const input = /** @type {HTMLInputElement} */ (document.getElementById("upload-files"));
const folderInput = /** @type {HTMLInputElement} */ (document.getElementById("upload-folder"));
const overlay = /** @type {HTMLElement} */ (document.getElementById("upload-overlay"));
const root = /** @type {HTMLElement} */ (document.getElementById("upload-summary"));
const extensions = (form.dataset.folderExtensions ?? "").split(",");

const summary = new UploadSummary(root);
const queue = new UploadQueue(form, onChange);
let skipped = 0;
let accepted = 0;
let reportedAt = -Infinity;
let wasBusy = false;

form.addEventListener("submit", (event) => {
  event.preventDefault();
  add({ files: [...(input.files ?? [])], folder: "", skipped: 0 });
  form.reset();
});
const choose = /** @type {HTMLElement} */ (form.querySelector("[data-upload=folder]"));
choose.hidden = false;
choose.addEventListener("click", () => folderInput.click());
folderInput.addEventListener("change", () => {
  if (folderInput.files) add(filesOfFolder(folderInput.files, extensions));
  folderInput.value = "";
});
root.querySelector("[data-upload=stop]")?.addEventListener("click", () => queue.stop());
root.querySelector("[data-upload=retry]")?.addEventListener("click", () => queue.retry());
addEventListener("beforeunload", (event) => {
  if (queue.isBusy) event.preventDefault();
});

addEventListener("dragenter", onDrag);
addEventListener("dragover", onDrag);
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) overlay.hidden = true; // it left the window
});
addEventListener("drop", (event) => {
  if (!hasFiles(event.dataTransfer)) return;
  event.preventDefault();
  overlay.hidden = true;
  void filesOf(/** @type {DataTransfer} */ (event.dataTransfer), extensions).then(add);
});
addEventListener("paste", (event) => {
  if (!event.clipboardData?.files.length) return;
  event.preventDefault();
  add({ files: [...event.clipboardData.files], folder: "", skipped: 0 });
});

/** @param {DragEvent} event */
function onDrag(event) {
  if (!hasFiles(event.dataTransfer)) return;
  event.preventDefault();
  if (overlay.hidden) overlay.hidden = false;
}

/** @param {DataTransfer | null} transfer */
function hasFiles(transfer) {
  return Boolean(transfer?.types.includes("Files"));
}

/** @param {import("./dropped-files.js").Chosen} chosen */
function add(chosen) {
  const { files, folder } = chosen;
  skipped = (queue.isBusy ? skipped : 0) + chosen.skipped;
  queue.add(files, {
    batch: files.length > 1 ? newBatch() : "",
    batchName: folder || gettext("%(number)s documents", { number: files.length }),
    metadata: String(new FormData(form).get("metadata") ?? ""),
  });
}

/** A random name; `crypto.randomUUID` needs HTTPS. */
function newBatch() {
  return [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(36)).join("");
}

function onChange() {
  summary.render(queue, skipped);
  const hasEnded = wasBusy && !queue.isBusy;
  wasBusy = queue.isBusy;
  const number = queue.count("uploaded", "known");
  const isDue = hasEnded || performance.now() > reportedAt + REPORT_MS;
  if (number !== accepted && isDue) {
    reportedAt = performance.now();
    accepted = number;
    document.dispatchEvent(new CustomEvent("uploaded"));
  }
}
