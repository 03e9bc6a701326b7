"""The URLs of the reference ingestion, which precede those of the app."""

from django.urls import path

from ingestion_progress.pipeline.documents.cards import job_result
from ingestion_progress.pipeline.documents.views import (
    document_deletion,
    document_detail,
    document_ingestion,
)
from ingestion_progress.pipeline.search.page import search_page
from ingestion_progress.pipeline.uploads.views import job_list

urlpatterns = [
    path("", job_list, name="job_list"),
    path("search/", search_page, name="search"),
    path("jobs/<str:job_id>/result/", job_result, name="job_result"),
    path("documents/<str:document_id>/", document_detail, name="document_detail"),
    path("documents/<str:document_id>/ingestion/", document_ingestion, name="document_ingestion"),
    path("documents/<str:document_id>/deletion/", document_deletion, name="document_deletion"),
]
