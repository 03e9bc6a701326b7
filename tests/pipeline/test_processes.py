"""The reference ingestion in several processes."""

from __future__ import annotations

import itertools
import json
import uuid

import pytest

pytestmark = pytest.mark.once

STORE = """
    import json, sys
    from ingestion_progress.pipeline.models import Document
    document = Document(id=sys.argv[1], name="a.txt", media_type="text/plain", size_bytes=1)
    document.save()
    print(json.dumps(document.pk))
"""
# Runs jobs of the same document one after the other, and prints when each had its claim.
CLAIM = """
    import json, sys, time
    from ingestion_progress import track
    from ingestion_progress.pipeline.exceptions import DocumentBusy
    from ingestion_progress.pipeline.ingestion import claim
    from ingestion_progress.pipeline.models import Document
    document_id, name, path = sys.argv[1:]
    document = Document.objects.get(pk=document_id)
    had, refused = [], 0
    for number in range(25):
        job_id = f"{document_id}-{name}-{number}"
        with track("a.txt", job_id=job_id, document_id=document_id, stages=["parsing"]):
            try:
                claim(job_id, document)
            except DocumentBusy:
                refused += 1
                continue
            since = time.time()
            time.sleep(0.03)
            had.append([since, time.time()])
    with open(path, "w") as file:
        json.dump([had, refused], file)
"""


def test_only_one_job_at_a_time_claims_a_document(project, tmp_path):
    document_id = uuid.uuid4().hex
    project.output_of(STORE, document_id)
    names = ["a", "b", "c"]
    processes = [project.python(CLAIM, document_id, name, str(tmp_path / name)) for name in names]
    assert [process.wait(60) for process in processes] == [0, 0, 0], project.log.read_text()[-3000:]

    results = [json.loads((tmp_path / name).read_text()) for name in names]
    had = sorted(itertools.chain.from_iterable(periods for periods, _ in results))
    assert len(had) > 3
    assert sum(refused for _, refused in results) > 0
    for (_, until), (since, _) in itertools.pairwise(had):
        assert until <= since
