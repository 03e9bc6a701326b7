// @ts-check
/** A hook of React around `watch`. */

import { useEffect, useState } from "react";
import { watch } from "./client.js";

/** @typedef {Omit<import("./client.js").WatchOptions, "onJob" | "onConnection">} JobsOptions */

/**
 * The watched jobs by id, and the state of the connection. Watches again when the URL, the ids of
 * the jobs or the viewer change; without a URL, nothing.
 * @param {string | null} url
 * @param {JobsOptions} [options]
 */
export function useJobs(url, options = {}) {
  const [jobs, setJobs] = useState(/** @type {Record<string, import("./client.js").WatchedJob>} */ ({}));
  const [connection, setConnection] = useState(/** @type {import("./client.js").ConnectionState} */ ("connecting"));
  useEffect(() => {
    if (!url) return;
    const watched = watch(url, {
      ...options,
      onJob: (job) => setJobs((known) => ({ ...known, [job.id]: job })),
      onConnection: setConnection,
    });
    return () => watched.close();
  }, [url, options.jobs?.join(), options.viewer]);
  return { jobs, connection };
}
