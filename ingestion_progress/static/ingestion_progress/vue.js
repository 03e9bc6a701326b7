// @ts-check
/** A composable of Vue around `watch`. */

import { onWatcherCleanup, reactive, ref, toValue, watchEffect } from "vue";
import { watch } from "./client.js";

/** @import { MaybeRefOrGetter } from "vue" */
/** @typedef {Omit<import("./client.js").WatchOptions, "onJob" | "onConnection">} JobsOptions */

/**
 * The watched jobs by id, and the state of the connection. Watches again when the URL or the options
 * change, which may be refs or getters; without a URL, nothing.
 * @param {MaybeRefOrGetter<string | null>} url
 * @param {MaybeRefOrGetter<JobsOptions>} [options]
 */
export function useJobs(url, options = {}) {
  const jobs = reactive(/** @type {Record<string, import("./client.js").WatchedJob>} */ ({}));
  const connection = ref(/** @type {import("./client.js").ConnectionState} */ ("connecting"));
  watchEffect(() => {
    const address = toValue(url);
    if (!address) return;
    const watched = watch(address, {
      ...toValue(options),
      onJob: (job) => void (jobs[job.id] = job),
      onConnection: (state) => void (connection.value = state),
    });
    onWatcherCleanup(() => watched.close());
  });
  return { jobs, connection };
}
