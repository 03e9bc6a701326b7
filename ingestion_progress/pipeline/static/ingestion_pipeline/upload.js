// @ts-check
/** Uploads the chosen documents, each with a progress bar. Without it the form is posted. */

import { element, fill, setBar } from "../ingestion_progress/dom.js";
import { fileSize, percent } from "../ingestion_progress/format.js";

const MAX_CONCURRENT = 2;

const ITEM = `
<li class="upload-item" data-status="queued">
  <bdi data-field="upload.name"></bdi>
  <span class="upload-state" data-field="upload.state">Waiting</span>
  <progress class="bar" max="100" value="0"></progress>
</li>`;

const form = /** @type {HTMLFormElement} */ (document.getElementById("upload"));
const input = /** @type {HTMLInputElement} */ (document.getElementById("upload-files"));
const list = /** @type {HTMLElement} */ (form.querySelector(".upload-list"));

/**
 * @typedef {object} Upload
 * @property {File} file
 * @property {HTMLElement} item
 * @property {string} batch
 * @property {string} batchName
 * @property {string} metadata
 */

/** @type {Upload[]} */
const waiting = [];
let runningCount = 0;

form.addEventListener("submit", (event) => {
  event.preventDefault();
  add(input.files);
  form.reset();
});
form.addEventListener("dragenter", allowDrop);
form.addEventListener("dragover", allowDrop);
form.addEventListener("dragleave", endDrag);
form.addEventListener("drop", (event) => {
  event.preventDefault();
  endDrag();
  add(event.dataTransfer?.files ?? null);
});
addEventListener("beforeunload", (event) => {
  if (runningCount) event.preventDefault();
});

/** @param {FileList | null} files */
function add(files) {
  const batch = files && files.length > 1 ? newBatch() : "";
  const batchName = `${files?.length} documents`;
  const metadata = String(new FormData(form).get("metadata") ?? "");
  for (const file of files ?? []) {
    const item = element(ITEM);
    fill(item, { "upload.name": file.name });
    item.querySelector("progress")?.setAttribute("aria-label", `Upload of ${file.name}`);
    list.append(item);
    const limit = Number(form.dataset.maxBytes);
    if (file.size > limit) {
      end(item, "failed", `Not sent: ${fileSize(file.size)} exceeds the limit of ${fileSize(limit)}.`);
    } else waiting.push({ file, item, batch, batchName, metadata });
  }
  next();
}

function next() {
  while (runningCount < MAX_CONCURRENT) {
    const upload = waiting.shift();
    if (!upload) return;
    runningCount += 1;
    void send(upload).finally(() => {
      runningCount -= 1;
      next();
    });
  }
}

/** A random name; `crypto.randomUUID` needs HTTPS. */
function newBatch() {
  return [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(36)).join("");
}

/**
 * With XMLHttpRequest: fetch() does not report the progress of an upload.
 * @param {Upload} upload
 * @returns {Promise<void>}
 */
function send({ file, item, batch, batchName, metadata }) {
  const request = new XMLHttpRequest();
  item.dataset.status = "running";
  request.upload.addEventListener("progress", ({ loaded, total }) => {
    const sent = (loaded / total) * 100;
    setBar(item.querySelector("progress"), sent, percent(sent));
    fill(item, { "upload.state": sent < 100 ? `${percent(sent)} of ${fileSize(file.size)}` : "Checking" });
  });
  request.open("POST", form.dataset.uploadUrl ?? "");
  const token = form.querySelector("[name=csrfmiddlewaretoken]");
  if (token instanceof HTMLInputElement) request.setRequestHeader("X-CSRFToken", token.value);
  request.setRequestHeader("Accept", "application/json");
  const body = new FormData();
  body.append("file", file);
  if (batch) {
    body.append("batch", batch);
    body.append("batch_name", batchName);
  }
  if (metadata) body.append("metadata", metadata);
  return new Promise((resolve) => {
    request.addEventListener("loadend", () => {
      finish(request, item);
      resolve();
    });
    request.send(body);
  });
}

/**
 * @param {XMLHttpRequest} request
 * @param {HTMLElement} item
 */
function finish(request, item) {
  const body = parseJson(request.responseText);
  if (request.status !== 201 && request.status !== 200) {
    end(item, "failed", body?.message ?? errorText(request.status));
    return;
  }
  end(item, "succeeded", "");
  const link = document.createElement("a");
  link.href = body?.links?.page ?? "";
  link.textContent = "Watch";
  const state = body?.is_known ? "Nothing to do: this content was uploaded before · " : "Uploaded · ";
  item.querySelector(".upload-state")?.replaceChildren(state, link);
  document.dispatchEvent(new CustomEvent("uploaded"));
}

/**
 * @param {HTMLElement} item
 * @param {"succeeded" | "failed"} status
 * @param {string} text
 */
function end(item, status, text) {
  item.dataset.status = status;
  item.querySelector("progress")?.remove();
  fill(item, { "upload.state": text });
  const name = item.querySelector("bdi")?.textContent ?? "";
  const region = document.getElementById("upload-announcement");
  if (region) region.textContent = `${name}: ${text || "uploaded"}`;
}

/** @param {number} status */
function errorText(status) {
  if (status === 413) return `Larger than the limit of ${fileSize(Number(form.dataset.maxBytes))}.`;
  return status ? `The server rejected the document (${status}).` : "The connection failed. Try again.";
}

/**
 * @param {string} text
 * @returns {{message?: string, is_known?: boolean, links?: {page?: string}} | null}
 */
function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** @param {DragEvent} event */
function allowDrop(event) {
  if (!event.dataTransfer?.types.includes("Files")) return;
  event.preventDefault();
  form.dataset.dragging = "";
}

function endDrag() {
  delete form.dataset.dragging;
}
