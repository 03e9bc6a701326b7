// @ts-check
/**
 * One stream for all tabs of a browser that see the same server as the same viewer.
 *
 * A browser opens six HTTP/1.1 connections per origin in all its tabs together. The tab that holds
 * a Web Lock opens the stream and sends its events to the others by a BroadcastChannel. When it
 * closes, the browser gives the lock to the next tab, and if it hangs, another tab steals the lock.
 * Browsers have both only on https and localhost: elsewhere each tab has its own stream.
 */

import { StreamLeader } from "./stream-leader.js";

/** @typedef {import("./stream-leader.js").Message} Message */
/** @typedef {import("./stream-leader.js").SharedTarget} SharedTarget */
/** @typedef {import("./stream-access.js").StreamAccess} StreamAccess */

const OF_ONE_JOB = /\/jobs\/([^/]+)\/progress$/;
/** The joint stream names the jobs of all tabs, and MAX_JOBS_PER_STREAM is 200 by default. */
const MAX_LISTED = 12;
/** Their response depends on more than the viewer. */
const OWN_PARAMETERS = ["token", "until", "last_event_id"];
/** The tab that has the stream answers at once. */
const ANSWER_MS = 5_000;

/**
 * What tabs can share of a stream; null: nothing.
 * @param {string} url
 * @param {string} viewer names the credentials; empty: unknown
 * @param {StreamAccess} access
 * @returns {SharedTarget | null}
 */
export function sharedTarget(url, viewer, access) {
  if (!viewer || !navigator.locks || !("BroadcastChannel" in window)) return null;
  const address = new URL(url, document.baseURI);
  const jobId = OF_ONE_JOB.exec(address.pathname)?.[1];
  const isOfOne = jobId !== undefined;
  const listed = address.searchParams.get("jobs")?.split(",") ?? [];
  const jobs = isOfOne ? [decodeURIComponent(jobId)] : listed.length > MAX_LISTED ? [] : listed;
  const isOwn = OWN_PARAMETERS.some((name) => address.searchParams.has(name));
  if (isOwn || (isOfOne && (address.search || jobs[0].includes(",")))) return null;
  if (isOfOne) address.pathname = address.pathname.replace(OF_ONE_JOB, "/progress");
  if (jobs.length) address.searchParams.delete("jobs");
  const kind = `${jobs.length ? " jobs" : ""}${access.hasToken ? " token" : ""}`;
  const name = `ingestion-progress ${viewer} ${address.href}${kind}`;
  return { name, address, jobs, isOfOne, access };
}

/** As much of an EventSource as a ProgressConnection needs; the events of other jobs are left out. */
export class SharedStream extends EventTarget {
  /** @type {number} */
  readyState = EventSource.CONNECTING;

  #id = crypto.randomUUID();
  #target;
  #channel;
  /** The tab whose events it takes; empty: of the first that sends some. */
  #leaderId = "";
  /** @type {StreamLeader | null} */
  #leader = null;
  #closing = new AbortController();
  /** @type {number | undefined} */
  #answerTimer;
  /** There is a request for the lock, which others have. */
  #isWaiting = false;

  /** @param {SharedTarget} target */
  constructor(target) {
    super();
    this.#target = target;
    this.#channel = new BroadcastChannel(target.name);
    this.#channel.addEventListener("message", ({ data }) => this.#onMessage(data));
    const { signal } = this.#closing;
    // Held until it closes, so that the leader knows which tabs are still there.
    void this.#hold(`${target.name} ${this.#id}`, { signal }, () => this.#join());
    this.#waitForLead();
  }

  close() {
    if (this.#closing.signal.aborted) return;
    this.readyState = EventSource.CLOSED;
    clearTimeout(this.#answerTimer);
    this.#leader?.close();
    this.#channel.close();
    this.#closing.abort();
  }

  #waitForLead() {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    void this.#holdLead({ signal: this.#closing.signal });
  }

  /** @param {LockOptions} options */
  async #holdLead(options) {
    await this.#hold(this.#target.name, options, () => this.#lead());
    if (!this.#closing.signal.aborted) this.#resign();
  }

  /**
   * Resolves when the lock was released, as the stream was closed, or stolen.
   * @param {string} lock
   * @param {LockOptions} options
   * @param {() => void} start called with the lock
   */
  async #hold(lock, options, start) {
    const { signal } = this.#closing;
    const whileOpen = () => {
      if (signal.aborted) return;
      start();
      return new Promise((resolve) => signal.addEventListener("abort", resolve));
    };
    await navigator.locks.request(lock, options, whileOpen).catch(() => {});
  }

  #join() {
    const { jobs, isOfOne } = this.#target;
    /** @type {Message} */
    const message = { type: "join", from: this.#id, jobs, isOfOne };
    clearTimeout(this.#answerTimer);
    if (this.#leader) return this.#leader.onJoin(message);
    this.#answerTimer = setTimeout(() => void this.#holdLead({ steal: true }), ANSWER_MS);
    this.#channel.postMessage(message);
  }

  #lead() {
    this.#isWaiting = false;
    this.#leaderId = this.#id;
    this.#leader?.close();
    this.#leader = new StreamLeader(this.#target, this.#id, (message) => {
      this.#channel.postMessage(message);
      this.#onMessage(message);
    });
    this.#join();
    this.#channel.postMessage({ type: "who", from: this.#id });
  }

  /** @param {Message} message */
  #onMessage(message) {
    if (this.readyState === EventSource.CLOSED) return;
    if (message.type === "join") return this.#leader?.onJoin(message);
    if (message.type === "who") {
      if (message.from === this.#id || this.#leader) return;
      this.#leaderId = message.from;
      return this.#join();
    }
    this.#leaderId ||= message.from;
    // What a former leader sent may come late.
    if (message.from !== this.#leaderId) return;
    clearTimeout(this.#answerTimer);
    this.#take(message);
  }

  /** Another tab has stolen the lock. */
  #resign() {
    this.#leader?.close();
    this.#leader = null;
    this.#leaderId = "";
    this.#waitForLead();
    this.#join();
  }

  /** @param {Message} message */
  #take(message) {
    if (message.type === "here") return;
    if (message.type === "open") {
      this.readyState = EventSource.OPEN;
      this.dispatchEvent(new Event("open"));
    } else if (message.type === "event") {
      this.#dispatch(message);
    } else if (message.type === "closed") {
      this.close();
      this.dispatchEvent(new Event("error"));
    } else if (message.type === "lost" || this.readyState === EventSource.OPEN) {
      this.readyState = EventSource.CONNECTING;
      this.dispatchEvent(new Event("error"));
    }
  }

  /** @param {Extract<Message, {type: "event"}>} message */
  #dispatch({ name, data, jobId }) {
    const { jobs, isOfOne } = this.#target;
    const isOfOther = jobs.length > 0 && jobId !== "" && !jobs.includes(jobId);
    // It says that the connection lives.
    if (isOfOther) this.dispatchEvent(new MessageEvent("keepalive", { data: "{}" }));
    else this.dispatchEvent(new MessageEvent(name, { data: isOfOne ? dataOfOne(name, data) : data }));
  }
}

/**
 * The data of an event on a stream of many jobs, as that of one job has them.
 * @param {string} name
 * @param {string} data
 */
function dataOfOne(name, data) {
  if (name === "complete") return "{}";
  if (name !== "pipeline_progress") return data;
  const { job_id: _, ...progress } = JSON.parse(data);
  return JSON.stringify(progress);
}
