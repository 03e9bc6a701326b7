// @ts-check
/** Sends documents to the server, two at a time. */

import { fileSize } from "../ingestion_progress/format.js";
import { gettext } from "../ingestion_progress/gettext.js";

const MAX_CONCURRENT = 2;

/**
 * @typedef {object} Upload
 * @property {File} file
 * @property {string} batch the id of its batch; empty without one
 * @property {string} batchName
 * @property {string} metadata
 * @property {"waiting" | "running" | "uploaded" | "known" | "refused" | "broken" | "stopped"} state
 *   `known`: the content was there before; `broken`: another try may succeed
 * @property {number} sent bytes
 * @property {string} page of its job
 * @property {string} reason why it was not accepted
 * @property {XMLHttpRequest} [request]
 */

export class UploadQueue {
  /** @type {Upload[]} */
  uploads = [];

  /**
   * @param {HTMLFormElement} form
   * @param {() => void} onChange
   */
  constructor(form, onChange) {
    this.form = form;
    this.onChange = onChange;
    this.maxBytes = Number(form.dataset.maxBytes);
  }

  /** @param {Upload["state"][]} states */
  count(...states) {
    return this.uploads.filter(({ state }) => states.includes(state)).length;
  }

  get isBusy() {
    return this.count("waiting", "running") > 0;
  }

  /**
   * @param {File[]} files
   * @param {{batch: string, batchName: string, metadata: string}} options
   */
  add(files, options) {
    if (!this.isBusy) this.uploads = [];
    this.maxBytes = Number(this.form.dataset.maxBytes);
    for (const file of files) {
      /** @type {Upload} */
      const upload = { file, ...options, state: "waiting", sent: 0, page: "", reason: "" };
      if (file.size > this.maxBytes) {
        upload.state = "refused";
        const sizes = { size: fileSize(file.size), limit: fileSize(this.maxBytes) };
        upload.reason = gettext("Not sent: %(size)s exceeds the limit of %(limit)s.", sizes);
      }
      this.uploads.push(upload);
    }
    this.#next();
  }

  /** Sends again what was not sent because the connection broke. */
  retry() {
    for (const upload of this.uploads) {
      if (upload.state === "broken") Object.assign(upload, { state: "waiting", sent: 0, reason: "" });
    }
    this.#next();
  }

  stop() {
    for (const upload of this.uploads) {
      if (upload.state === "waiting") upload.state = "stopped";
      if (upload.state === "running") upload.request?.abort();
    }
    this.onChange();
  }

  #next() {
    while (this.count("running") < MAX_CONCURRENT) {
      const upload = this.uploads.find(({ state }) => state === "waiting");
      if (!upload) break;
      this.#send(upload);
    }
    this.onChange();
  }

  /** With XMLHttpRequest: fetch() does not report the progress of an upload. @param {Upload} upload */
  #send(upload) {
    const request = new XMLHttpRequest();
    Object.assign(upload, { state: "running", request });
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      upload.sent = (loaded / total) * upload.file.size;
      this.onChange();
    });
    request.addEventListener("abort", () => (upload.state = "stopped"));
    request.addEventListener("loadend", () => {
      if (upload.state === "running") this.#finish(upload, request);
      this.#next();
    });
    request.open("POST", this.form.dataset.uploadUrl ?? "");
    const token = this.form.querySelector("[name=csrfmiddlewaretoken]");
    if (token instanceof HTMLInputElement) request.setRequestHeader("X-CSRFToken", token.value);
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("X-Requested-With", "fetch"); // refusals in the language of the page
    request.send(bodyOf(upload));
  }

  /**
   * @param {Upload} upload
   * @param {XMLHttpRequest} request
   */
  #finish(upload, request) {
    const body = parseJson(request.responseText);
    upload.sent = upload.file.size;
    if (request.status === 200 || request.status === 201) {
      upload.state = body?.is_known ? "known" : "uploaded";
      upload.page = body?.links?.page ?? "";
    } else {
      const isPassing = !request.status || request.status === 429 || request.status >= 500;
      upload.state = isPassing ? "broken" : "refused";
      upload.reason = body?.message ?? this.#errorText(request.status);
    }
  }

  /** @param {number} status */
  #errorText(status) {
    if (status === 413) {
      return gettext("Larger than the limit of %(limit)s.", { limit: fileSize(this.maxBytes) });
    }
    if (!status) return gettext("The connection failed.");
    return gettext("The server rejected the document (%(status)s).", { status });
  }
}

/** @param {Upload} upload */
function bodyOf({ file, batch, batchName, metadata }) {
  const body = new FormData();
  body.append("file", file);
  if (batch) {
    body.append("batch", batch);
    body.append("batch_name", batchName);
  }
  if (metadata) body.append("metadata", metadata);
  return body;
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
