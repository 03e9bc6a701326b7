"""What stages and workers do, in the active language.

`stage-texts.js` has the same functions and test cases.
"""

from collections.abc import Sequence

from django.utils.translation import gettext

from ingestion_progress.models.statuses import ShownStageStatus, WorkerStatus
from ingestion_progress.web.formatting import count
from ingestion_progress.web.names import unit


def activity(running_labels: Sequence[str], *, has_started: bool) -> str:
    """Names the running stages."""
    if running_labels:
        return gettext("Now: %(stages)s") % {"stages": ", ".join(running_labels)}
    return gettext("Between two stages") if has_started else gettext("Starting")


def stage_detail(  # noqa: PLR0917  (the cases that JavaScript shares are lists)
    status: str,
    processed: int,
    total: int,
    counted: str,
    failed: int = 0,
    is_estimate: bool = False,  # noqa: FBT002
) -> str:
    """How far a stage with this shown status is. `counted` is its unit in plural; may be empty.
    `is_estimate`: its total is only about right.
    """
    whole = count(total)
    if is_estimate:
        whole = gettext("about %(number)s") % {"number": whole}
    amount = _stage_amount(status, processed, total, whole, counted)
    return " · ".join(filter(None, [amount, failures(failed)]))


def failures(number: int) -> str:
    """How many items failed; empty if none did."""
    return gettext("%(number)s failed") % {"number": count(number)} if number else ""


def _stage_amount(status: str, processed: int, total: int, whole: str, counted: str) -> str:
    """`whole` is the text of the total."""
    suffix = f" {unit(counted, total or processed)}" if counted else ""
    if status == ShownStageStatus.SKIPPED:
        return gettext("Not needed for this document")
    if status == ShownStageStatus.NOT_RUN:
        return ""
    if status == ShownStageStatus.PENDING:
        return gettext("%(amount)s to do") % {"amount": f"{whole}{suffix}"} if total else ""
    is_whole = not total or (status == ShownStageStatus.COMPLETED and processed == total)
    amount = count(processed)
    if not is_whole:
        amount = gettext("%(number)s of %(total)s") % {"number": amount, "total": whole}
    if status in {ShownStageStatus.ERROR, ShownStageStatus.STOPPED}:
        return gettext("Stopped at %(amount)s") % {"amount": f"{amount}{suffix}"}
    return f"{amount}{suffix}"


def in_flight(number: int) -> str:
    """Items that have begun and not ended; empty if there are none."""
    return gettext("%(number)s in flight") % {"number": count(number)} if number else ""


def busy(active: int, workers: int) -> str:
    """How many workers have an item; empty without workers."""
    if not workers:
        return ""
    return gettext("%(number)s of %(total)s busy") % {
        "number": count(active),
        "total": count(workers),
    }


def waiting_items(number: int) -> str:
    """Empty if there are none."""
    return gettext("%(number)s waiting") % {"number": count(number)} if number else ""


def worker(number: int) -> str:
    return gettext("Worker %(number)s") % {"number": number}


def worker_activity(status: str, chunk: str) -> str:
    """What a worker with this status does; `chunk` may be empty."""
    label = str(WorkerStatus(status).label)
    if status == WorkerStatus.ERROR and chunk:
        return f"{label}: {chunk}"
    return chunk if status == WorkerStatus.PROCESSING and chunk else label
