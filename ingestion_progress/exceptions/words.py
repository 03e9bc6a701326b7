"""Words and rules that are details of sentences."""

from __future__ import annotations

# The function of `django.utils.translation` needs settings, which this module does without.
from django.utils.translation.trans_null import gettext_noop as _

from ingestion_progress.exceptions.sentences import Sentence

NAME_RULE = Sentence(
    "1 to 255 printable characters, no slash or backslash, and no space at its ends"
)
WORDS = {
    each: Sentence(each)
    for each in (
        *(_("queued"), _("running"), _("succeeded"), _("failed"), _("cancelled"), _("lost")),
        *(_("cancellation"), _("deletion"), _("loss"), _("retry")),
        *(_("uploads"), _("stream tokens"), _("failed logins")),
    )
}
"""Statuses, actions, and what is counted."""
