"""What a forked child inherits from the writer of its parent, and what it does not."""

from __future__ import annotations

import uuid

import pytest

from tests.support.live import LiveProject

pytestmark = pytest.mark.once


def stages_after(project: LiveProject, source: str) -> dict[str, int]:
    """What has been processed once a script that forks has ended."""
    job_id = uuid.uuid4().hex
    process = project.python(source, job_id)
    assert process.wait(30) == 0, project.log.read_text()
    return project.ask(
        """
        import json, sys
        from ingestion_progress.models import Stage
        stages = Stage.objects.filter(job=sys.argv[1])
        print(json.dumps(dict(stages.values_list("name", "processed"))))
        """,
        job_id,
    )


def test_child_does_not_share_the_connection_of_its_parents_writer(project):
    source = """
        import os, sys
        from django.db import connections
        from ingestion_progress import track
        from ingestion_progress.tracker.writer import background_writer
        with track("a.pdf", job_id=sys.argv[1], stages=["one"]) as job:
            job.flush()
            connections.close_all()
            parents = background_writer._connection
            assert parents.connection is not None
            pid = os.fork()
            if pid == 0:
                os._exit(0 if parents.connection is None else 3)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            assert status == 0, status
            job.stage("one").advance(1)
    """
    assert stages_after(project, source) == {"one": 1}


def test_child_that_is_forked_while_a_count_is_recorded_does_not_wait_for_ever(project):
    source = """
        import os, signal, sys
        from django.db import connections
        from ingestion_progress import track
        with track("a.pdf", job_id=sys.argv[1], stages=["one"]) as job:
            stage = job.stage("one")
            connections.close_all()
            with job.buffer.lock:  # nothing is pending, so the writer's thread needs no lock
                pid = os.fork()
                if pid == 0:
                    signal.alarm(5)  # ends a child that hangs
                    stage.advance(10)
                    job.flush()
                    os._exit(0)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            assert status == 0, status
            stage.advance(1)
    """
    assert stages_after(project, source) == {"one": 11}


def test_child_leaves_what_was_pending_to_its_parent(project):
    source = """
        import os, sys
        from django.conf import settings
        settings.INGESTION_PROGRESS_FLUSH_INTERVAL_SECONDS = 60
        from django.db import connections
        from ingestion_progress import track
        with track("a.pdf", job_id=sys.argv[1], stages=["one"]) as job:
            stage = job.stage("one")
            stage.start()
            job.flush()
            stage.advance(1)
            connections.close_all()
            pid = os.fork()
            if pid == 0:
                stage.advance(10)
                job.flush()
                os._exit(0)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            assert status == 0, status
    """
    assert stages_after(project, source) == {"one": 11}
