"""The translated names and help texts of models and fields, as the admin shows them.

They are set when the apps are ready, and so are no part of any migration.
"""

from typing import Any

from django.apps import AppConfig
from django.utils.translation import gettext_lazy
from django.utils.translation import gettext_noop as _

MODELS = (
    *(_("job"), _("jobs"), _("stage"), _("stages"), _("worker"), _("workers")),
    *(_("batch"), _("batches"), _("document"), _("documents")),
    *(_("entity"), _("entities"), _("relation"), _("relations")),
)
# The numbers of a job are called the same on pages, in the admin and in the terminal.
METRIC_NAMES = {
    "total_chunks": _("chunks"),
    "total_images": _("images"),
    "entities_total": _("entities"),
    "relations_total": _("relations"),
    "neo4j_writes": _("graph writes"),
    "qdrant_writes": _("vector writes"),
    "error_count": _("errors"),
}
FIELDS = (
    *(_("about id"), _("about model"), _("attempt"), _("cancel acknowledged at")),
    *(_("cancel requested at"), _("cancel requested by"), _("counters"), _("created at")),
    *(_("current chunk"), _("document id"), _("document name"), _("document version")),
    *(_("epoch"), _("error"), _("event count")),
    *(_("failed"), _("failed attempts"), _("failed items"), _("file"), _("finished at")),
    *(_("heartbeat at"), _("id"), _("in flight"), _("item"), _("key"), _("language")),
    *(_("max running"), _("media type"), _("message"), _("metadata"), _("name")),
    *(_("number"), _("owner"), _("owner name"), _("pool size")),
    *(_("position"), _("priority"), _("processed"), _("published epoch")),
    *(_("queue depth"), _("queued at"), _("retry at"), _("revision")),
    *(_("source"), _("started at"), _("started by"), _("status")),
    *(_("target"), _("task"), _("total")),
    *(_("unit"), _("updated at"), _("writer")),
)
HELP_TEXTS = (
    _("User name of the owner when the job was created."),
    _("The project's own data about the job: a small object."),
    _("Model of the object that the job is about, such as shop.order."),
    _("Primary key of that object."),
    _("Dotted path of the task that runs the job. Empty: no next attempt is automatic."),
    _("-100 to 100: jobs with a higher one are run first, if the task queue can."),
    _("One try at the job; starting it again is the next one."),
    _("Names the attempt; a writer of another epoch is refused."),
    _("One more on each write."),
    _("Attempts in a row that were lost or failed. A person's retry starts from 0."),
    _("User who started this attempt; empty if it began automatically."),
    _("Host and process id of the process that runs the attempt."),
    _("The pipeline's own counters: name to integer."),
    _("Items of all stages that failed in this attempt."),
    _("When a writer last proved that it lives."),
    _("When the revision last moved."),
    _("When it was queued again; empty for the first attempt."),
    _("When the task of the next attempt is to be queued."),
    _("User name; empty on a public site."),
    _("When the running process learned of the request."),
    _("Why the job ended without success; of a queued job, why its last attempt did."),
    _("Shown instead of the id; may be changed."),
    _("User name of the owner when the batch was created."),
    _("Jobs that may run at the same time; 0: no limit."),
    _("As given with the upload, a code of ISO 639. Empty: it is detected."),
    _("The attempt whose vectors and graph search shows."),
    _("The attempt that wrote it."),
    _("The name in lower case."),
    _("The name as first written."),
    _("Mentions: a list of {chunk, page} in order of ingestion."),
)


def translate_names(config: AppConfig) -> None:
    """Translates the names of the models of an app and of their fields."""
    for model in config.get_models():
        options: Any = model._meta
        for attribute in ("verbose_name", "verbose_name_plural"):
            if (name := getattr(options, attribute)) in MODELS:
                setattr(options, attribute, gettext_lazy(name))
        for field in options.fields:
            name = METRIC_NAMES.get(field.name, field.verbose_name)
            if field.name in METRIC_NAMES or name in FIELDS or name in MODELS:
                field.verbose_name = gettext_lazy(name)
            if field.help_text in HELP_TEXTS:
                field.help_text = gettext_lazy(field.help_text)
