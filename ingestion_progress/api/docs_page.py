"""The page that documents the API: Swagger UI with a language, a way back and legible colours."""

from typing import Any

from django.apps import apps
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from ninja import NinjaAPI, Swagger


class DocsPage(Swagger):
    """Without "ninja" in INSTALLED_APPS, whose static files it needs, it is ninja's own page."""

    def render_page(self, request: HttpRequest, api: NinjaAPI, **kwargs: Any) -> HttpResponse:
        if not apps.is_installed("ninja"):
            return super().render_page(request, api, **kwargs)
        settings = self.settings | {"url": self.get_openapi_url(api, kwargs)}
        context = {"title": api.title, "swagger_settings": settings}
        return render(request, "ingestion_progress/api_docs.html", context)
