"""The translated names of models and fields, as the admin shows them.

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
FIELDS = (
    *(_("about id"), _("about model"), _("attempt"), _("cancel acknowledged at")),
    *(_("cancel requested at"), _("cancel requested by"), _("counters"), _("created at")),
    *(_("current chunk"), _("document id"), _("document name"), _("document version")),
    *(_("entities total"), _("epoch"), _("error"), _("error count"), _("event count")),
    *(_("failed"), _("failed attempts"), _("failed items"), _("file"), _("finished at")),
    *(_("heartbeat at"), _("id"), _("in flight"), _("item"), _("key"), _("language")),
    *(_("max running"), _("media type"), _("message"), _("metadata"), _("name")),
    *(_("neo4j writes"), _("number"), _("owner"), _("owner name"), _("pool size")),
    *(_("position"), _("priority"), _("processed"), _("published epoch"), _("qdrant writes")),
    *(_("queue depth"), _("queued at"), _("relations total"), _("retry at"), _("revision")),
    *(_("size bytes"), _("source"), _("started at"), _("started by"), _("status")),
    *(_("target"), _("task"), _("total"), _("total chunks"), _("total images")),
    *(_("updated at"), _("writer")),
)


def translate_names(config: AppConfig) -> None:
    """Of the models of an app, and of their fields."""
    for model in config.get_models():
        options: Any = model._meta
        for attribute in ("verbose_name", "verbose_name_plural"):
            if (name := getattr(options, attribute)) in MODELS:
                setattr(options, attribute, gettext_lazy(name))
        for field in options.fields:
            if field.verbose_name in FIELDS or field.verbose_name in MODELS:
                field.verbose_name = gettext_lazy(field.verbose_name)
