// @ts-check
/** Tells the tabs of a browser that a server responds again, so that none waits for its next try. */

export class Reconnections {
  #channel;

  /**
   * @param {string} url of the stream
   * @param {() => void} onReconnected called when another tab is connected again
   */
  constructor(url, onReconnected) {
    const { origin } = new URL(url, document.baseURI);
    this.#channel =
      "BroadcastChannel" in window && new BroadcastChannel(`ingestion-progress connected ${origin}`);
    if (this.#channel) this.#channel.addEventListener("message", onReconnected);
  }

  announce() {
    if (this.#channel) this.#channel.postMessage("");
  }

  close() {
    if (this.#channel) this.#channel.close();
  }
}
