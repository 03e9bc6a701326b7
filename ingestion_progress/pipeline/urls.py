"""The URLs of the reference ingestion, which precede those of the app."""

from django.urls import path

from ingestion_progress.pipeline.uploads.views import job_list

urlpatterns = [path("", job_list, name="job_list")]
