"""A project that has the app below a path of its URLconf."""

from django.urls import include, path

urlpatterns = [path("progress/", include("ingestion_progress.urls"))]
