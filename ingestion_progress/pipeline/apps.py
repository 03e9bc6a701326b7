"""The Django app of the reference ingestion, and its extensions of the API and the pages."""

from django.apps import AppConfig
from django.core.checks import register
from django.utils.translation import gettext_lazy as _


class PipelineConfig(AppConfig):
    name = "ingestion_progress.pipeline"
    label = "ingestion_pipeline"
    verbose_name = _("Reference ingestion")
    default_auto_field = "django.db.models.BigAutoField"

    # See ingestion_progress/extensions.py
    progress_api_routers = (
        "ingestion_progress.pipeline.uploads.api.router",
        "ingestion_progress.pipeline.documents.api.router",
        "ingestion_progress.pipeline.documents.contents.router",
        "ingestion_progress.pipeline.search.api.router",
    )
    progress_upload_rules = ("ingestion_progress.pipeline.uploads.rules.rules",)
    progress_document_deleters = (
        "ingestion_progress.pipeline.documents.deletion.delete_unused_document",
    )
    progress_urls = ("ingestion_progress.pipeline.urls.urlpatterns",)
    progress_worker_command = "ingestion_worker"
    progress_document_pages = ("ingestion_progress.pipeline.documents.access.document_page",)
    progress_document_admin_pages = (
        "ingestion_progress.pipeline.documents.access.document_admin_page",
    )
    progress_job_cards = ("ingestion_progress.pipeline.documents.cards.result_card",)

    def ready(self) -> None:
        from ingestion_progress.checks import not_positive
        from ingestion_progress.models.names import translate_names
        from ingestion_progress.pipeline import checks
        from ingestion_progress.pipeline.conf import conf

        translate_names(self)
        register(lambda **kwargs: not_positive(conf))
        register(checks.check_task_queue)
        register(checks.check_uploads)
        register(checks.check_components)
        register(checks.check_language)
        register(checks.check_dense_weight)
        register(checks.check_fastembed)
        register(checks.check_graph)
        register(checks.check_models)
        register(checks.check_hosts, deploy=True)
        register(checks.check_graph_server, deploy=True)
