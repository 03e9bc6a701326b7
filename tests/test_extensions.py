"""What an installed app adds to the API and to the limits of request bodies."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.utils.safestring import mark_safe
from ninja import Router

from ingestion_progress import extensions
from ingestion_progress.api.api import build_api
from ingestion_progress.api.job_list import JOBS
from ingestion_progress.asgi import BodyLimit
from ingestion_progress.pipeline.apps import PipelineConfig
from tests.support.exchanges import Exchange
from tests.support.page_jobs import job_with, page_of

router = Router()
guarded = Router(auth=lambda request: None)


@router.put(JOBS, operation_id="replace_jobs")
def replace_jobs(request):
    return {}


class ReportRules:
    """Uploads to `/reports` of up to 10 bytes, for requests with the header X-Pass."""

    def limit_for(self, scope):
        return 10 if scope["path"] == "/reports" else None

    def may_upload(self, request):
        return "X-Pass" in request.headers

    def refusal(self, request, code, message):
        return HttpResponse(code, status=400)


report_rules = ReportRules()


def test_routers_may_add_methods_to_a_path_of_another(monkeypatch):
    routers = (*PipelineConfig.progress_api_routers, "tests.test_extensions.router")
    monkeypatch.setattr(PipelineConfig, "progress_api_routers", routers)
    document = build_api().get_openapi_schema(path_prefix="/x")
    assert set(document["paths"]["/x" + JOBS]) == {"post", "put", "get"}


def test_one_router_serves_several_apis():
    first, second = build_api(), build_api()
    assert len(first.urls[0]) == len(second.urls[0])


def test_router_with_auth_is_refused(monkeypatch):
    monkeypatch.setattr(PipelineConfig, "progress_api_routers", ("tests.test_extensions.guarded",))
    with pytest.raises(ImproperlyConfigured, match="on each operation"):
        build_api()


def test_app_without_extensions_adds_nothing(settings):
    settings.INSTALLED_APPS = [
        app for app in settings.INSTALLED_APPS if app != "ingestion_progress.pipeline"
    ]
    assert not [*extensions.api_routers(), *extensions.url_patterns(), *extensions.upload_rules()]


class TestUploadRules:
    @pytest.fixture(autouse=True)
    def _rules(self, monkeypatch, settings):
        rules = (*PipelineConfig.progress_upload_rules, "tests.test_extensions.report_rules")
        monkeypatch.setattr(PipelineConfig, "progress_upload_rules", rules)
        settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 5

    @pytest.mark.parametrize(
        ("size", "headers", "answer"),
        [
            (11, [("x-pass", "1")], (400, b"too_large")),
            (11, [], (400, b"unauthorized")),
            (6, [], (400, b"unauthorized")),
            (6, [("x-pass", "1")], (200, b"taken")),
            (5, [], (200, b"taken")),  # stays in memory: the view decides
        ],
    )
    async def test_upload_rules_of_an_app_decide_about_its_uploads(self, size, headers, answer):
        async def application(scope, receive, send):
            await receive()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"taken"})

        length = ("content-length", str(size))
        exchange = Exchange("/reports", [b"x" * size], [length, *headers])
        await exchange.through(BodyLimit(application))
        assert (exchange.status, exchange.body) == answer


def hello_card(request, job):
    return mark_safe(f"<section>Hello {job.pk}</section>")


def empty_card(request, job):
    return ""


@pytest.mark.django_db
def test_apps_add_cards_to_the_page_of_a_job(client, monkeypatch):
    job_with()
    cards = ("tests.test_extensions.hello_card", "tests.test_extensions.empty_card")
    monkeypatch.setattr(PipelineConfig, "progress_job_cards", cards)
    html = client.get(page_of("job-1")).content.decode()
    assert "<section>Hello job-1</section>" in html
    assert html.index("Stages") < html.index("Hello job-1") < html.index('id="log"')
