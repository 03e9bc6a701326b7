"""The OpenAPI document is valid and complete, and responses match it."""

from __future__ import annotations

import json
import re
from contextlib import suppress

import jsonschema
import pytest
from django.utils import timezone
from openapi_spec_validator import OpenAPIV31SpecValidator

from ingestion_progress import track
from ingestion_progress.api.api import build_api
from ingestion_progress.api.errors import DOCUMENTED
from ingestion_progress.api.schemas import JobSchema
from ingestion_progress.models import Job
from ingestion_progress.models.statuses import (
    EventLevel,
    JobStatus,
    Liveness,
    StageStatus,
    WorkerStatus,
)
from ingestion_progress.testing import synchronous_tracking
from ingestion_progress.tracker import queue_job
from ingestion_progress.wire.batches import batch_frames
from ingestion_progress.wire.events import (
    ALL_EVENTS,
    MANY_JOBS_EVENTS,
    STREAM_EVENTS,
    events_json_schema,
)
from ingestion_progress.wire.frames import (
    COMMENT,
    KEEPALIVE,
    Frame,
    idle_body,
    missing_frame,
    multi_job_frame,
    single_job_frame,
)
from ingestion_progress.wire.schemas import ErrorEventData, JobStateEventData
from ingestion_progress.wire.snapshots import load_snapshot

URL = "/api/v1/openapi.json"
STREAM = "/api/v1/admin/ingestion/jobs/{job_id}/progress"
MANY = "/api/v1/admin/ingestion/progress"


@pytest.fixture
def document(client):
    return client.get(URL).json()


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def events_of(body):
    """(event, data) of each message in a frame."""
    for message in body.decode().strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in message.split("\n"))
        yield fields["event"], json.loads(fields["data"])


class TestDocument:
    def test_it_is_valid_openapi_3_1(self, document):
        assert document["openapi"] == "3.1.0"
        OpenAPIV31SpecValidator(document).validate()

    def test_every_operation_describes_itself_and_its_errors(self, document):
        for name, operation in operations(document):
            assert operation["summary"], name
            assert len(operation["description"]) > 40, name
            assert operation["tags"], name
            assert {"401", "403"} <= set(operation["responses"]), name
            for status, response in operation["responses"].items():
                assert response["description"], (name, status)
                if int(status) >= 400:
                    (schema,) = [c["schema"]["$ref"] for c in response["content"].values()]
                    assert schema.endswith("/ErrorSchema"), (name, status)

    def test_every_parameter_of_a_query_has_a_description(self, document):
        for name, operation in operations(document):
            for parameter in operation["parameters"]:
                if parameter["in"] != "path":
                    assert parameter["description"], (name, parameter["name"])

    def test_every_tag_and_every_schema_is_used_and_described(self, document):
        used = {tag for _, operation in operations(document) for tag in operation["tags"]}
        assert {tag["name"] for tag in document["tags"]} == used
        assert all(tag["description"] for tag in document["tags"])
        text = json.dumps(document)
        for name in document["components"]["schemas"]:
            assert f'"#/components/schemas/{name}"' in text, name

    def test_operation_ids_are_unique(self, document):
        ids = [operation["operationId"] for _, operation in operations(document)]
        assert len(ids) == len(set(ids))

    def test_operations_are_those_of_the_api(self, document):
        assert sorted(name for name, _ in operations(document)) == [
            "DELETE /api/v1/admin/ingestion/batches/{batch_id}",
            "DELETE /api/v1/admin/ingestion/jobs/{job_id}",
            "DELETE /api/v1/admin/ingestion/jobs/{job_id}/errors/{error_id}/resolution",
            "DELETE /api/v1/admin/ingestion/stream-tokens",
            "DELETE /api/v1/admin/ingestion/stream-tokens/{token_id}",
            "DELETE /api/v1/documents/{document_id}",
            "GET /api/v1/admin/ingestion/batches",
            "GET /api/v1/admin/ingestion/batches/{batch_id}",
            "GET /api/v1/admin/ingestion/jobs",
            "GET /api/v1/admin/ingestion/jobs/{job_id}",
            "GET /api/v1/admin/ingestion/jobs/{job_id}/errors",
            "GET /api/v1/admin/ingestion/jobs/{job_id}/events",
            "GET /api/v1/admin/ingestion/jobs/{job_id}/progress",
            "GET /api/v1/admin/ingestion/jobs/{job_id}/samples",
            "GET /api/v1/admin/ingestion/jobs/{job_id}/snapshot",
            "GET /api/v1/admin/ingestion/progress",
            "GET /api/v1/documents",
            "GET /api/v1/documents/{document_id}",
            "GET /api/v1/documents/{document_id}/chunks",
            "GET /api/v1/documents/{document_id}/entities",
            "GET /api/v1/documents/{document_id}/file",
            "GET /api/v1/documents/{document_id}/jobs",
            "GET /api/v1/documents/{document_id}/relations",
            "GET /api/v1/search",
            "PATCH /api/v1/admin/ingestion/batches/{batch_id}",
            "POST /api/v1/admin/ingestion/batches",
            "POST /api/v1/admin/ingestion/batches/{batch_id}/cancellation",
            "POST /api/v1/admin/ingestion/batches/{batch_id}/retry",
            "POST /api/v1/admin/ingestion/jobs",
            "POST /api/v1/admin/ingestion/jobs/{job_id}/cancellation",
            "POST /api/v1/admin/ingestion/jobs/{job_id}/errors/{error_id}/resolution",
            "POST /api/v1/admin/ingestion/jobs/{job_id}/retry",
            "POST /api/v1/admin/ingestion/stream-tokens",
            "POST /api/v1/documents/{document_id}/jobs",
        ]

    def test_upload_is_a_form_with_a_file(self, document):
        operation = document["paths"]["/api/v1/admin/ingestion/jobs"]["post"]
        form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
        assert form["required"] == ["file"]
        assert form["properties"]["file"]["format"] == "binary"
        assert set(form["properties"]) == {
            *("file", "job_id", "document_id", "batch", "batch_name", "priority", "metadata"),
            "language",
        }
        assert set(operation["responses"]) >= {"201", "409", "411", "413", "415", "422"}
        assert "curl -F file=@" in operation["x-codeSamples"][0]["source"]
        assert "Location" in operation["responses"]["201"]["headers"]

    def test_login_is_optional_and_every_security_scheme_is_described(self, document):
        schemes = document["components"]["securitySchemes"]
        assert set(schemes) == {
            "MayView",
            "MayStart",
            "MayStartInBatches",
            "LoggedIn",
            "MayIssueToken",
            "StreamToken",
            "StreamTokenInQuery",
        }
        assert all(scheme["description"] for scheme in schemes.values())
        for name, operation in operations(document):
            assert {} in operation["security"], name

    def test_document_is_the_same_for_every_build(self):
        first, second = (build_api().get_openapi_schema(path_prefix="/x/") for _ in range(2))
        assert json.dumps(first) == json.dumps(second)

    def test_codes_of_errors_are_those_that_are_sent(self, document):
        schema = document["components"]["schemas"]["ErrorSchema"]
        assert schema["properties"]["code"]["enum"] == DOCUMENTED


class TestStreamOperation:
    @pytest.fixture
    def stream(self, document):
        return document["paths"][STREAM]["get"]

    def test_it_comes_first_with_summary_and_examples(self, document, stream):
        assert next(iter(document["paths"])) == STREAM
        assert stream["summary"]
        samples = {sample["label"]: sample["source"] for sample in stream["x-codeSamples"]}
        assert "curl -N http://" in samples["curl"]
        assert "new EventSource(" in samples["EventSource"]
        assert all(source in stream["description"] for source in samples.values())

    def test_every_event_is_explained_and_has_a_schema(self, document, stream):
        content = stream["responses"]["200"]["content"]["text/event-stream"]
        reference = content["schema"]["$ref"]
        assert content["x-itemSchema"] == {"$ref": reference}
        schemas = document["components"]["schemas"]
        messages = {
            message["properties"]["event"]["const"]: message
            for message in schemas[reference.rpartition("/")[2]]["oneOf"]
        }
        assert list(messages) == [event.name for event in STREAM_EVENTS]
        for event in STREAM_EVENTS:
            assert f"`{event.name}`" in stream["description"]
            schema = messages[event.name]["properties"]["data"]["contentSchema"]
            assert schema["$ref"] == f"#/components/schemas/{event.data.__name__}"
            assert event.data.__name__ in schemas

    def test_resuming_and_headers_are_described(self, stream):
        parameters = {(parameter["in"], parameter["name"]) for parameter in stream["parameters"]}
        assert parameters == {
            ("path", "job_id"),
            ("header", "Last-Event-ID"),
            ("query", "last_event_id"),
            ("query", "token"),
        }
        assert set(stream["responses"]) == {"200", "204", "401", "403", "405", "501"}
        assert set(stream["responses"]["200"]["headers"]) == {
            "Cache-Control",
            "X-Accel-Buffering",
            "Access-Control-Allow-Origin",
        }

    def test_stream_of_many_jobs_is_described_as_well(self, document, stream):
        many = document["paths"][MANY]["get"]
        assert list(document["paths"])[1] == MANY
        for event in MANY_JOBS_EVENTS:
            assert f"| `{event.name}` | `{event.data.__name__}` |" in many["description"]
            assert event.data.__name__ in document["components"]["schemas"]
        reference = many["responses"]["200"]["content"]["text/event-stream"]["schema"]["$ref"]
        messages = document["components"]["schemas"][reference.rpartition("/")[2]]["oneOf"]
        assert [message["title"] for message in messages] == [e.name for e in MANY_JOBS_EVENTS]
        assert set(many["responses"]) == set(stream["responses"]) | {"400"}
        names = [parameter["name"] for parameter in many["parameters"]]
        assert names == [
            *("jobs", "batch", "about", "owner", "until", "Last-Event-ID", "last_event_id", "token")
        ]
        assert "new EventSource(" in many["description"]

    def test_curl_example_has_the_url_of_the_stream(self, client, stream):
        path = re.search(r"http://[^/]+(/\S+)", stream["x-codeSamples"][0]["source"]).group(1)
        # Django's client uses WSGI, which only the view of the stream refuses.
        assert client.get(path).json()["code"] == "asgi_required"


@pytest.mark.django_db
class TestResponses:
    """Responses and events match the schemas."""

    def ended(self, job_id, error=None):
        with (
            suppress(OSError),
            synchronous_tracking(),
            track("a.pdf", job_id=job_id, workers=2) as job,
        ):
            with job.stage("parsing", total=2) as stage, job.worker(1, chunk="c-1"):
                stage.advance()
            if error:
                raise error
        return load_snapshot(job_id)

    @pytest.fixture
    def frames(self):
        succeeded = self.ended("good")
        failed = self.ended("bad", OSError("The disk is full"))
        now = timezone.now()
        queue_job("a.pdf", job_id="again", batch="import")
        Job.objects.filter(pk="again").update(attempt=2, retry_at=now)
        return [
            single_job_frame(load_snapshot("again"), now),
            single_job_frame(succeeded, now),
            single_job_frame(failed, now),
            missing_frame("nobody"),
            multi_job_frame(succeeded, now, "1"),
            *batch_frames(Job.objects.all(), ["import"]).values(),
            Frame(body=idle_body("1"), cursor="", percent=0.0, is_final=True),
            Frame(body=KEEPALIVE.removeprefix(COMMENT), cursor="", percent=0.0, is_final=False),
        ]

    def test_every_event_of_a_stream_fits_its_json_schema(self, frames):
        validator = jsonschema.Draft202012Validator(events_json_schema())
        validator.check_schema(validator.schema)
        seen = set()
        for frame in frames:
            for event, data in events_of(frame.body):
                validator.validate({"type": event, "data": data})
                seen.add(event)
        assert seen == {event.name for event in ALL_EVENTS}

    def test_schema_refuses_unknown_fields_and_events(self, frames):
        validator = jsonschema.Draft202012Validator(events_json_schema())
        _, data = next(events_of(frames[0].body))
        for wrong in (data | {"extra": 1}, data | {"total_chunks": -1}, {"document_id": "x"}):
            assert not validator.is_valid({"type": "pipeline_progress", "data": wrong})
        assert not validator.is_valid({"type": "surprise", "data": {}})

    @pytest.mark.parametrize("tail", ["", "/good", "/good/events", "/nobody", "?limit=0"])
    def test_answers_fit_the_documented_schemas(self, client, document, frames, tail):
        response = client.get(f"/api/v1/admin/ingestion/jobs{tail}")
        path = "/api/v1/admin/ingestion/jobs" + re.sub(r"^/\w+", "/{job_id}", tail.split("?")[0])
        documented = document["paths"][path]["get"]["responses"][str(response.status_code)]
        schema = documented["content"]["application/json"]["schema"]
        jsonschema.Draft202012Validator(schema | {"components": document["components"]}).validate(
            response.json()
        )


def literals(model, field):
    """The allowed values of a field, without null."""
    schema = model.model_json_schema(mode="serialization")["properties"][field]
    options = schema.get("anyOf", [schema])
    return {word for option in options for word in option.get("enum", [])}


def test_literals_of_the_schemas_are_those_of_the_models():
    schemas = events_json_schema()["$defs"]
    stage = schemas["StageProgressSchema"]["properties"]["status"]["enum"]
    worker = schemas["WorkerInfoSchema"]["properties"]["status"]["enum"]
    assert set(stage) == set(StageStatus.values) - {"skipped"}
    assert set(worker) == set(WorkerStatus.values)
    for model in (JobStateEventData, JobSchema):
        assert literals(model, "status") == set(JobStatus.values)
        assert literals(model, "liveness") == set(Liveness.values)
    endings = {status.value for status in JobStatus.final()} - {"succeeded"}
    assert literals(ErrorEventData, "code") == endings | {
        "not_found",
        "stream_error",
        "forbidden",
        "token_expired",
        "too_many_streams",
    }


def test_levels_of_the_log_are_those_of_the_models(document):
    schema = document["components"]["schemas"]["JobEventSchema"]["properties"]["level"]
    assert schema["enum"] == EventLevel.values


@pytest.mark.django_db
def test_docs_page_is_served_with_its_own_assets(client):
    page = client.get("/api/v1/docs")
    assert page.status_code == 200
    text = page.content.decode()
    assert 'src="/static/ninja/swagger-ui-bundle.js"' in text
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", text)
    # "Try it out" works for a logged-in user.
    assert re.search(r'data-csrf-token="\w{64}"\s+data-api-csrf="true"', text)
