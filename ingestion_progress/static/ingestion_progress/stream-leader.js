// @ts-check
/** Opens the stream for all tabs that share it, and sends them its events. */

import { takeSlot } from "./stream-slots.js";

/** @typedef {import("./stream-access.js").StreamAccess} StreamAccess */

/**
 * @typedef {object} SharedTarget
 * @property {string} name of the lock and the channel: the same for all tabs that can share
 * @property {URL} address of the stream, without `?jobs=`
 * @property {string[]} jobs that this tab wants; none: everything on the stream
 * @property {boolean} isOfOne events as on the stream of one job
 * @property {StreamAccess} access of this tab, used while it has the stream
 */

/**
 * Between tabs. `from`: the id of the sender's SharedStream. A leader sends `who` when it begins,
 * `here` at once to a tab that joins, `slow` if its stream is not open after a second, `lost` while
 * the browser reconnects, and `closed` after a response other than 200.
 * @typedef {{type: "join", from: string, jobs: string[], isOfOne: boolean}
 *   | {type: "who" | "here" | "open" | "slow" | "lost" | "closed", from: string}
 *   | {type: "event", from: string, name: string, data: string, jobId: string}} Message
 */

const EVENTS = [
  "pipeline_progress",
  "forecast",
  "job_state",
  "next_attempt",
  "batch_progress",
  "complete",
  "keepalive",
];
/** Tabs that come together, as after a restart of the browser, open the stream once. */
const JOIN_MS = 50;
const SLOW_MS = 1_000;

/** As the server says it when it has too many. */
const NO_SLOT = JSON.stringify({ message: "", job_id: "", code: "too_many_streams" });

export class StreamLeader {
  #target;
  #id;
  #send;
  /** @type {EventSource | null} */
  #source = null;
  /** By the id of the SharedStream. @type {Map<string, {jobs: string[], isOfOne: boolean}>} */
  #wanted = new Map();
  /** If all tabs show the same job, it is the stream of this one. */
  #onlyJob = "";
  /** @type {number | undefined} */
  #timer;
  /** @type {number | undefined} */
  #slowTimer;
  #isClosed = false;
  /** @type {ReturnType<typeof takeSlot> | null} */
  #slot = null;

  /**
   * @param {SharedTarget} target
   * @param {string} id of its SharedStream
   * @param {(message: Message) => void} send to all tabs, and to its own
   */
  constructor(target, id, send) {
    this.#target = target;
    this.#id = id;
    this.#send = send;
  }

  /**
   * Opens the stream anew: its first events give the new tab the whole state.
   * @param {Message} message
   */
  onJoin(message) {
    if (message.type !== "join") return;
    this.#wanted.set(message.from, message);
    this.#send({ type: "here", from: this.#id });
    this.#timer ??= setTimeout(() => void this.#open(), JOIN_MS);
  }

  close() {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#slowTimer);
    this.#source?.close();
    void this.#slot?.then((release) => release?.());
  }

  async #open() {
    this.#timer = undefined;
    await this.#forgetClosed();
    const isReady = await this.#prepare();
    if (this.#isClosed) return;
    if (!isReady) return this.#forward("error", NO_SLOT);
    this.#source?.close();
    clearTimeout(this.#slowTimer);
    const source = new EventSource(this.#url());
    const from = this.#id;
    this.#source = source;
    source.addEventListener("open", () => {
      clearTimeout(this.#slowTimer);
      this.#send({ type: "open", from });
    });
    for (const name of EVENTS) {
      source.addEventListener(name, (event) => this.#forward(name, event.data));
    }
    source.addEventListener("error", (event) => {
      if (event instanceof MessageEvent && event.data) this.#forward("error", event.data);
      else this.#send({ type: source.readyState === EventSource.CLOSED ? "closed" : "lost", from });
    });
    this.#slowTimer = setTimeout(() => this.#send({ type: "slow", from }), SLOW_MS);
  }

  /** Takes a slot, and gets a new token; false without a slot. */
  async #prepare() {
    const { address, access, jobs } = this.#target;
    if (this.#source) await access.refresh(); // the first token is new
    this.#slot ??= takeSlot(address.href, jobs.length > 0);
    const hasSlot = (await this.#slot) !== null;
    if (!hasSlot) this.#slot = null;
    return hasSlot;
  }

  /** Forgets tabs that hold no lock any more: they were closed or killed. */
  async #forgetClosed() {
    const { held = [] } = await navigator.locks.query();
    const present = new Set(held.map(({ name }) => name));
    for (const id of this.#wanted.keys()) {
      if (!present.has(`${this.#target.name} ${id}`)) this.#wanted.delete(id);
    }
  }

  #url() {
    const wanted = [...this.#wanted.values()];
    const jobs = [...new Set(wanted.flatMap((each) => each.jobs))].sort();
    const url = new URL(this.#target.address);
    this.#onlyJob = jobs.length === 1 && wanted.every((each) => each.isOfOne) ? jobs[0] : "";
    if (this.#onlyJob) {
      const id = encodeURIComponent(this.#onlyJob);
      url.pathname = url.pathname.replace(/progress$/, () => `jobs/${id}/progress`);
    } else if (jobs.length) {
      url.searchParams.set("jobs", jobs.join(","));
    }
    return this.#target.access.signed(url.href);
  }

  /**
   * @param {string} name
   * @param {string} data
   */
  #forward(name, data) {
    const { job_id: jobId = this.#onlyJob } = JSON.parse(data);
    this.#send({ type: "event", from: this.#id, name, data, jobId });
  }
}
