from __future__ import annotations

from django.urls import URLPattern, URLResolver

app_name = "ingestion_progress"
urlpatterns: list[URLPattern | URLResolver] = []
