"""Everything that is watched in a process: jobs by name, and all active jobs."""

import logging
from collections.abc import Iterable, Mapping

from ingestion_progress.conf import conf
from ingestion_progress.feed.active_jobs import ActiveJobs, Scan
from ingestion_progress.feed.job_state import JobState, NoState, State, in_order_of_ends
from ingestion_progress.feed.queries import Changes, LastSeen, Scope
from ingestion_progress.feed.subscription import Subscription
from ingestion_progress.feed.visibility import Change
from ingestion_progress.feed.watched_job import WatchedJob, including
from ingestion_progress.wire.frames import missing_frame

logger = logging.getLogger(__name__)


class WatchedJobs:
    """The subscribers of each job, what the next read compares with, and who receives its results.

    Times named `clock` are seconds of the feed's clock.
    """

    def __init__(self) -> None:
        self.by_id: dict[str, WatchedJob] = {}
        self.active = ActiveJobs()
        self.changed_batches: set[str] = set()
        """Batches of jobs that were published while there are streams of active jobs."""

    @property
    def are_all_watched(self) -> bool:
        """Is there a stream of all active jobs?"""
        return self.active.has_streams

    def watch(self, job_id: str) -> WatchedJob:
        if job_id not in self.by_id:
            self.by_id[job_id] = WatchedJob(job_id, self.active.subscribers, self.active.by_rule)
        return self.by_id[job_id]

    def leave(self, subscription: Subscription) -> None:
        """Forgets the subscription, and the jobs that nobody watches any longer."""
        job_ids: Iterable[str] | None = subscription.selection.job_ids
        if job_ids is None:
            self.active.leave(subscription)
            job_ids = () if self.active.shows(subscription.selection.batch) else list(self.by_id)
        for job_id in job_ids:
            if job := self.by_id.get(job_id):
                job.leave(subscription)
                if not job.is_wanted:
                    del self.by_id[job_id]

    def keep_alive(self, clock: float, after_seconds: float) -> None:
        """Sends keep-alives on the streams that were silent for this long."""
        for job in self.by_id.values():
            job.keep_alive(clock, after_seconds)
        for subscription in self.active.streams():
            subscription.keep_alive(clock, after_seconds, clock)

    def last_seen(self, job_ids: Iterable[str], clock: float) -> dict[str, LastSeen | None]:
        """What the next read compares with, for those of the jobs that are watched."""
        jobs = {job_id: job for job_id in job_ids if (job := self.by_id.get(job_id))}
        return {
            job_id: None
            if job.state is None
            else LastSeen.of(job.state, is_paused=job.is_paused(clock))
            for job_id, job in jobs.items()
        }

    def scope(self, job_ids: Iterable[str], scan: Scan | None) -> Scope:
        jobs = [self.by_id[job_id] for job_id in job_ids]
        is_for_all = scan is not None or self.active.has_streams
        return Scope(
            single={job.job_id for job in jobs if job.has_single},
            multi=None if is_for_all else {job.job_id for job in jobs if job.has_named},
            ended_since=None if scan is None else scan.ended_since,
            batches=None if scan is None else scan.batches,
            sent=self.active.sent if scan else {},
            broken=self.active.broken(scan.clock) if scan else (),
        )

    def publish(self, changes: Changes, scan: Scan | None, clock: float) -> None:
        """Sends the new states, or leaves them to be read again when the throttle allows."""
        for job_id, error in changes.broken.items():
            logger.error("sse_stream_error", exc_info=error, extra={"job_id": job_id})
        # Ends first, in their order: the `id` of a later message means that they were sent.
        for job_id, state in in_order_of_ends(changes.states):
            self._publish(job_id, state, scan, clock, is_broken=job_id in changes.broken)
        for job_id in changes.held_back & self.by_id.keys():
            self.by_id[job_id].is_behind = True

    def apply(self, change: Change) -> None:
        """Sends the states of jobs that became visible to streams of active jobs; jobs that became
        hidden no longer exist for them.
        """
        for job_id in change.shown:
            job = self.by_id.get(job_id)
            state = job.state if job and job.is_active else self.active.ended_lately(job_id)
            if state is not None:
                for subscription in including(change.subscribers, state.batch):
                    subscription.put(job_id, state.multi_frame)
        for job_id in change.hidden:
            if (job := self.by_id.get(job_id)) and job.is_active and job.state:
                for subscription in including(change.subscribers, job.state.batch):
                    subscription.put(job_id, missing_frame(job_id))

    def hide(self, subscription: Subscription, job_ids: Iterable[str]) -> None:
        """These named jobs no longer exist for the stream."""
        for job_id in job_ids:
            if (job := self.by_id.get(job_id)) and subscription in job.subscribers:
                job.leave(subscription)
                if not job.is_wanted:
                    del self.by_id[job_id]
                subscription.put(job_id, missing_frame(job_id))

    def stale(self, clock: float) -> dict[str, JobState]:
        """The active jobs whose frames are missing or too old for a new stream of all jobs."""
        return {
            job_id: job.state
            for job_id, job in self.by_id.items()
            if isinstance(job.state, JobState) and job.needs_encoding(clock)
        }

    def replace(
        self, stale: Mapping[str, JobState], fresh: Mapping[str, JobState], clock: float
    ) -> None:
        """Replaces states by fresh ones, unless a newer state was published meanwhile."""
        for job_id, state in fresh.items():
            job = self.by_id.get(job_id)
            if job is not None and job.state is stale[job_id]:
                job.state, job.encoded_at = state, clock

    def complete(self, scan: Scan, clock: float) -> None:
        """Sends the states of all active jobs to the streams that are joining."""
        active = {
            job_id: job.state
            for job_id, job in self.by_id.items()
            if job.state is not None and not job.state.is_final
        }
        self.active.complete(scan, active, not_before=clock + conf.throttle_seconds)

    def _publish(
        self, job_id: str, state: State, scan: Scan | None, clock: float, *, is_broken: bool
    ) -> None:
        job, active = self.by_id.get(job_id), self.active
        was_active = job is not None and job.is_active
        # The last stream of all jobs may have left during the read.
        if job is None and scan is not None and self.are_all_watched and not state.is_final:
            job = self.watch(job_id)
        if job is not None:
            job.offer(state, clock)
            # Streams of many jobs stay open, and get the states of a new attempt.
            if is_broken or (state.is_final and not job.has_named):
                del self.by_id[job_id]
        if not self.are_all_watched:
            return
        self.changed_batches.add(state.batch)
        if is_broken and isinstance(state, NoState):
            active.job_unreadable(job_id, state, clock=clock)
        elif state.is_final:
            active.job_ended(job_id, state, was_active=was_active, scan=scan)
        else:
            active.job_active(job_id)
