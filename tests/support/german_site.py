"""A site with German data for a German reader: its jobs, its documents and its pages."""

from __future__ import annotations

import re

STATUSES = ("queued", "running", "succeeded", "failed", "cancelled", "lost")
IDS = {status: f"akte-{number}" for number, status in enumerate(STATUSES)}
ADMIN = "/admin/ingestion_progress"
PIPELINE = "/admin/ingestion_pipeline"
# Jobs: replaced, published, with a warning, of a deleted document, and growing.
INGESTED = ("bienen-alt", "bienen-neu", "brief", "alt", "vortrag-neu")
# All names are German, or of no language. All other texts are sentences that the app stores.
SEED = """
from datetime import timedelta
from django.contrib.auth import get_user_model
from django.utils import timezone
from ingestion_progress.models import Batch, Job, JobAttempt, JobError, JobEvent, Stage, Worker
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.tracker.error_messages import pattern_of
from tests.support.page_jobs import job_with
now = timezone.now()
LATER = {"ruft": {"heartbeat_at": now - timedelta(seconds=12)},
    "stumm": {"heartbeat_at": now - timedelta(minutes=5), "updated_at": now - timedelta(minutes=5)},
    "still": {"updated_at": now - timedelta(minutes=9)},
    "abbruch": {"cancel_requested_at": now, "cancel_requested_by": "anna"},
    "dienst": {"waiting_for": "the model at llm:8000"}}
ERROR = "“Akte.pdf” is damaged: its parts cannot be read. Save or download it again."
LINES = ["Started", "Waiting for the vector store.", "Its encoding is not declared. It was read as "
    "UTF-8.", "Failed: " + ERROR, "Cancellation requested by anna", "Page 3 is damaged and was "
    "left out.", "Sheet “Kosten” is hidden and was left out."]
Batch.objects.create(id="mai", name="Mai")
jobs = [job_with(status, job_id=f"akte-{number}", batch="mai", document_name=f"Akte {number}.pdf",
    error=ERROR if status.is_final and status != "succeeded" else "", error_count=1234,
    failed_items=1234 if status.is_final else 0, attempt=2, owner_name="anna", event_count=7)
    for number, status in enumerate(JobStatus)]
jobs += [job_with(JobStatus.RUNNING, job_id=f"akte-{name}", document_name=f"Brief {name}.pdf",
    **fields) for name, fields in LATER.items()]
# No pass of the server finds them lost meanwhile.
Job.objects.running().exclude(pk__in=["akte-ruft", "akte-stumm"]).update(
    heartbeat_at=now + timedelta(hours=1))
Worker.objects.update(current_chunk="c-1")
for name in ("pending", "in_progress", "completed", "error", "skipped"):
    Stage.objects.filter(name=f"{name}_stage").update(name={"pending": "parsing",
        "in_progress": "chunking", "completed": "embedding", "error": "extraction",
        "skipped": "vlm"}[name])
JobEvent.objects.all().delete()
for job in jobs:
    for line in LINES:
        JobEvent.objects.create(job=job, attempt=1, level="warning", stage="parsing",
            item="page 3", message=line)
    JobAttempt.objects.create(job=job, number=1, status="failed", started_at=now,
        finished_at=now + timedelta(seconds=65), started_by="anna", failed_items=3,
        cancelled_by="a newer version of the document", error=ERROR)
    for number, text in enumerate([ERROR, "Page 3 is damaged and was left out."]):
        JobError.objects.create(job=job, attempt=2, stage="parsing", digest=str(number),
            message=pattern_of(text), count=1234, first_at=now - timedelta(seconds=9), last_at=now,
            examples=[{"item": "page 3", "message": text}],
            resolved_at=now if number else None, resolved_by="anna" if number else "")
get_user_model().objects.create_superuser("anna", password="honig")
get_user_model().objects.create_user("bert")
"""

# Documents in each state, and the jobs that made them.
DOCUMENTS = """
import io
from datetime import timedelta
from django.utils import timezone
from ingestion_progress.models import Job
from ingestion_progress.pipeline.documents.deletion import delete_document
from ingestion_progress.pipeline.ingestion import ingest
from ingestion_progress.pipeline.models import Edition
from ingestion_progress.pipeline.stores.embedded.connections import close_all
from ingestion_progress.pipeline.uploads.receive import receive
from tests.pipeline.stages.test_pptx import shape, slides
from tests.support.timed_jobs import timed_job
def given(name, data, document_id, job_id, **options):
    return receive(io.BytesIO(data), name=name, document_id=document_id, job_id=job_id,
        is_enqueued=False, **options)
def done(*args, **options):
    ingest(given(*args, **options).pk)
TEXT = "Die Imkerei Sommer liefert Honig. Anna Berg leitet die Imkerei Sommer. " * 9
book = "\\n\\n".join(f"# Kapitel {number}\\n\\n{TEXT}" for number in range(1, 45))
done("Bienen.md", b"# Entwurf\\n\\nNoch kein Honig.", "bienen", "bienen-alt")
done("Bienen.md", book.encode(), "bienen", "bienen-neu", batch="mai")
talk = slides(*[shape(f"Folie {number}", TEXT) for number in range(1, 4)])
done("Vortrag.pptx", talk, "vortrag", "vortrag")
done("Weg.txt", b"Ein Brief, der weg soll", "weg", "weg")
done("Brief.txt", "Gr\u00fc\u00dfe aus der Imkerei".encode("cp1252"), "brief", "brief")
given("Brief.txt", b"Zwei", "brief", "brief-neu")
done("Alt.txt", b"Alter Brief", "alt", "alt")
delete_document("alt", by="anna")
growing = given("Vortrag.pptx", slides(shape("Drei", TEXT)), "vortrag", "vortrag-neu")
Job.objects.filter(pk=growing.pk).update(status="running", started_at=timezone.now(),
    heartbeat_at=timezone.now() + timedelta(hours=1), epoch="e")
Edition.objects.create(document_id="vortrag", epoch="e", job_id=growing.pk, version="v")
samples = [[n * 1000, float(n), [n], [100], None, 2, 9] for n in range(0, 100, 5)]
timed_job("ende", {"parsing": (0, 100)}, started_at=timezone.now() - timedelta(hours=1),
    seconds=100, samples=samples, document_name="Ende.pdf", pool_size=3)
close_all()
"""
# Prints the key of a new session of a user.
LOG_IN = """
import json, sys
from django.contrib.auth import get_user_model, login
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
request = HttpRequest()
request.session = SessionStore()
user = get_user_model().objects.get(username=sys.argv[1])
login(request, user, "django.contrib.auth.backends.ModelBackend")
request.session.save()
print(json.dumps(request.session.session_key))
"""
LOG_OUT = """
import sys
from django.contrib.sessions.models import Session
Session.objects.filter(pk=sys.argv[1]).delete()
"""
# Texts that are seen, and names that are heard.
TEXTS = """() => {
  const found = [document.title];
  const roots = [document.body];
  for (const root of roots) {
    for (const each of root.querySelectorAll("*")) {
      if (each.shadowRoot) roots.push(each.shadowRoot);
      if (each.closest("script, style, code, [data-foreign]")) continue;
      for (const name of ["title", "aria-label", "aria-description",
          "aria-valuetext", "placeholder", "alt"]) {
        found.push(each.getAttribute(name));
      }
      if (each.matches("input[type=submit], input[type=button]")) found.push(each.value);
      for (const node of each.childNodes) {
        if (node.nodeType === Node.TEXT_NODE) found.push(node.data);
      }
    }
  }
  return [...new Set(found.map((text) => text?.trim()).filter(Boolean))];
}"""
ENGLISH_FORMATS = re.compile(r"\b\d{1,3},\d{3}\b|\d ?[ap]\.?m\b|\b(Mar|May|Oct|Dec)\b")
PAGES = {
    "list": "/",
    "list of a batch": "/?batch=mai",
    "list by status": "/?status=failed",
    "list of a group": "/?group=attention",
    "sorted list": "/?sort=longest",
    "list without jobs": "/?q=zzz",
    "own jobs": "/?owner=me",
    "batches": "/batches/",
    **{f"job that is {status}": f"/jobs/{job_id}/" for status, job_id in IDS.items()},
    "job without a sign of life": "/jobs/akte-ruft/",
    "job that is probably lost": "/jobs/akte-stumm/",
    "job without progress": "/jobs/akte-still/",
    "job that is to stop": "/jobs/akte-abbruch/",
    "job that waits for a service": "/jobs/akte-dienst/",
    "no job": "/jobs/niemand/",
    "confirmed deletion": f"/jobs/{IDS['failed']}/?confirm=deletion",
    "confirmed cancellation": f"/jobs/{IDS['running']}/?confirm=cancellation",
    "search": "/search/",
    "search without hits": "/search/?q=zzz",
    "login": "/login/",
    "admin": "/admin/",
    "admin's list": f"{ADMIN}/job/",
    **{
        f"admin's job that is {each}": f"{ADMIN}/job/{job_id}/change/"
        for each, job_id in IDS.items()
    },
    "admin's job that waits for a service": f"{ADMIN}/job/akte-dienst/change/",
    "admin's job without a sign of life": f"{ADMIN}/job/akte-stumm/change/",
    "admin's deletion": f"{ADMIN}/job/{IDS['failed']}/delete/",
    "admin's history": f"{ADMIN}/job/{IDS['failed']}/history/",
    "admin's batches": f"{ADMIN}/batch/",
    "admin's batch": f"{ADMIN}/batch/mai/change/",
    "search with hits": "/search/?q=Imkerei",
    "search with filters": "/search/?q=Imkerei&batch=mai&media_type=text/markdown&document=bienen",
    "second page of hits": "/search/?q=Imkerei&offset=10",
    "search behind the hits": "/search/?q=Imkerei&offset=900",
    "search without hits in a document": "/search/?q=zzz&document=bienen",
    "document with pages of chunks": "/documents/bienen/?page=2",
    "document with a chart": "/documents/vortrag/",
    "document with a newer version": "/documents/brief/",
    "no document": "/documents/keins/",
    **{f"job {each}": f"/jobs/{each}/" for each in INGESTED},
    **{f"result of {each}": f"/jobs/{each}/result/" for each in INGESTED},
    "admin's documents": f"{PIPELINE}/document/",
    "admin's entities": f"{PIPELINE}/entity/",
    "admin's relations": f"{PIPELINE}/relation/",
    "admin's document": f"{PIPELINE}/document/bienen/change/",
    "admin's history of a document": f"{PIPELINE}/document/bienen/history/",
}
