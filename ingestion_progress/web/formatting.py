"""Texts of numbers, durations and states. `format.js` has the same functions and test cases."""

import math
from collections.abc import Sequence

from ingestion_progress.models.statuses import JobStatus, ShownStageStatus, WorkerStatus

NBSP = "\u00a0"  # keeps a number and its unit on one line

SECOND_MS = 1000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

ABBREVIATION_LENGTH = 3
# Endings of plurals whose singular is not the word without its "s".
OTHER_PLURALS = ("ss", "ies", "sses", "xes", "ches", "shes")


def label(name: str) -> str:
    """`entity_linking` as "Entity linking", `vlm` as "VLM"."""
    words = name.replace("_", " ").replace("-", " ").strip()
    if len(words) <= ABBREVIATION_LENGTH:
        return words.upper()
    return words[:1].upper() + words[1:]


def count(number: int) -> str:
    """1234567 as "1,234,567"."""
    return f"{number:,}"


def unit(plural: str, number: int) -> str:
    """What is counted: "page" after 1, otherwise "pages"."""
    has_singular = plural.endswith("s") and not plural.endswith(OTHER_PLURALS)
    return plural[:-1] if number == 1 and has_singular else plural


def age(milliseconds: int) -> str:
    """How long ago something was: "3 min ago", in its largest unit, rounded down."""
    if milliseconds < MINUTE_MS:
        return "just now"
    if milliseconds < HOUR_MS:
        return f"{milliseconds // MINUTE_MS}{NBSP}min ago"
    if milliseconds < DAY_MS:
        return f"{milliseconds // HOUR_MS}{NBSP}h ago"
    return f"{milliseconds // DAY_MS}{NBSP}d ago"


def queue_position(position: int) -> str:
    """1 is the job that should start next."""
    return "Next in the queue" if position == 1 else f"Number {count(position)} in the queue"


def jobs(number: int) -> str:
    return "1 job" if number == 1 else f"{number} jobs"


def number(value: float) -> str:
    """For attributes: 68.6 as "68.6", 100.0 as "100"."""
    return f"{value:g}"


def percent(value: float) -> str:
    """Whole percent, rounded down, so that only finished work shows 100%."""
    return f"{math.floor(value)}%"


def exact_percent(value: float) -> str:
    return f"{value:.1f}%" if 0 < value < 100 else f"{value:.0f}%"


def duration(milliseconds: int) -> str:
    """The two largest units, rounded down; tenths below a second."""
    if milliseconds < SECOND_MS:
        tenths = milliseconds // 100
        return f"0.{tenths}{NBSP}s" if tenths else f"0{NBSP}s"
    if milliseconds < MINUTE_MS:
        return f"{milliseconds // SECOND_MS}{NBSP}s"
    if milliseconds < HOUR_MS:
        return _two_units(milliseconds, MINUTE_MS, "min", SECOND_MS, "s")
    if milliseconds < DAY_MS:
        return _two_units(milliseconds, HOUR_MS, "h", MINUTE_MS, "min")
    return _two_units(milliseconds, DAY_MS, "d", HOUR_MS, "h")


def remaining(milliseconds: int, low_ms: int = 0, high_ms: int = 0) -> str:
    """A rounded estimate with its range: "about 3 min left (up to 5 min)"; empty if none."""
    if milliseconds <= 0:
        return ""
    if milliseconds < 10 * SECOND_MS:
        return "a few seconds left"
    shown_range = time_range(low_ms, high_ms)
    if milliseconds <= 50 * SECOND_MS:
        tens = math.ceil(milliseconds / (10 * SECOND_MS))
        return f"about {tens * 10}{NBSP}s left{shown_range}"
    quarters = math.ceil(milliseconds / (15 * SECOND_MS))
    if milliseconds <= 3 * MINUTE_MS and quarters % 4:
        return f"about {duration(quarters * 15 * SECOND_MS)} left{shown_range}"
    if milliseconds < HOUR_MS:
        return f"about {math.ceil(milliseconds / MINUTE_MS)}{NBSP}min left{shown_range}"
    return f"about {duration(milliseconds)} left{shown_range}"


def with_reason(left: str, reason: str) -> str:
    """A remaining time with the reason why it is a guess, or the reason why there is none."""
    return f"{left} · {reason}" if left and reason else left or reason


def time_range(low_ms: int, high_ms: int) -> str:
    """In the unit of its end, rounded outwards; empty if there is none."""
    if high_ms <= 0:
        return ""
    step_ms, factor, unit = HOUR_MS, 1, "h"
    if high_ms <= 50 * SECOND_MS:
        step_ms, factor, unit = 10 * SECOND_MS, 10, "s"
    elif high_ms < HOUR_MS:
        step_ms, factor, unit = MINUTE_MS, 1, "min"
    low, high = low_ms // step_ms * factor, math.ceil(high_ms / step_ms) * factor
    return f" ({low}–{high}{NBSP}{unit})" if low else f" (up to {high}{NBSP}{unit})"


def file_size(size_bytes: int) -> str:
    """Rounded down, one digit below ten: "8.4 MB", "50 MB" (of 1024² bytes)."""
    size, units = float(size_bytes), ["bytes", "kB", "MB", "GB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    has_tenths = units[0] != "bytes" and size < 10
    shown = f"{math.floor(size * 10) / 10:.1f}" if has_tenths else str(math.floor(size))
    return f"{shown}{NBSP}{units[0]}"


def job_label(status: str, failed_items: int) -> str:
    """The label of a status; a success with failed items says so."""
    shown = str(JobStatus(status).label)
    if status != JobStatus.SUCCEEDED or not failed_items:
        return shown
    return f"{shown} with {count(failed_items)} {unit('errors', failed_items)}"


def error_note(errors: int) -> str:
    """Errors that did not end the job; empty if there are none."""
    return f"Errors during ingestion: {count(errors)}" if errors else ""


def attempt_note(attempt: int) -> str:
    """Only of later attempts."""
    return f"Attempt {count(attempt)}" if attempt > 1 else ""


def waiting(service: str) -> str:
    """Empty if it waits for none."""
    return f"Waiting for {service}" if service else ""


def next_attempt(attempt: int, max_attempts: int, reason: str, due_in_ms: int | None) -> str:
    """What a queued job waits for. `due_in_ms` is None once its task is queued.

    `reason`: how the last attempt ended; empty if a person retries the job.
    """
    number = f"attempt {count(attempt)} of {count(max_attempts)}"
    text = f"Waiting to continue: {number}" if reason else f"Waiting to start again: {number}"
    if due_in_ms is None:
        return f"{text}."
    due = "now" if due_in_ms < SECOND_MS else f"in {duration(due_in_ms)}"
    return f"{text}, due {due}."


def rate(items: float, milliseconds: float) -> str:
    """A speed in the unit in which it is at least 1: "12 per s", "3.4 per min"; empty if none."""
    if items <= 0 or milliseconds <= 0:
        return ""
    for unit_ms, name in ((SECOND_MS, "s"), (MINUTE_MS, "min")):
        if (found := items * unit_ms / milliseconds) >= 1:
            return f"{_rounded(found)} per{NBSP}{name}"
    hourly = _rounded(items * HOUR_MS / milliseconds)
    return "" if hourly == "0" else f"{hourly} per{NBSP}h"


def _rounded(value: float) -> str:
    """With a tenth below ten."""
    if value >= 10:
        return count(math.floor(value + 0.5))
    return f"{math.floor(value * 10 + 0.5) / 10:g}"


def peak(highest: str) -> str:
    """The text of a highest value, as a note; empty if there is none."""
    return f"at most {highest}" if highest else ""


def former_jobs(number: int) -> str:
    """Whose median is shown."""
    if number == 1:
        return "of the last such job"
    return f"median of {count(number)} such jobs"


def axis_label(milliseconds: int, step_ms: int) -> str:
    """Of an axis of time with labels at this distance."""
    if not milliseconds:
        return "0"
    units = ((DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "min"), (SECOND_MS, "s"))
    unit_ms, name = next((each for each in units if step_ms >= each[0]), units[-1])
    return f"{milliseconds / unit_ms:g}{NBSP}{name}"


def activity(running_labels: Sequence[str], *, has_started: bool) -> str:
    """Names the running stages."""
    if running_labels:
        return f"Now: {', '.join(running_labels)}"
    return "Between two stages" if has_started else "Starting"


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
    whole = f"about {count(total)}" if is_estimate else count(total)
    amount = _stage_amount(status, processed, total, whole, counted)
    return " · ".join(filter(None, [amount, f"{count(failed)} failed" if failed else ""]))


def _stage_amount(status: str, processed: int, total: int, whole: str, counted: str) -> str:
    """`whole` is the text of the total."""
    suffix = f" {unit(counted, total or processed)}" if counted else ""
    if status == ShownStageStatus.SKIPPED:
        return "Not needed for this document"
    if status == ShownStageStatus.NOT_RUN:
        return ""
    if status == ShownStageStatus.PENDING:
        return f"{whole}{suffix} to do" if total else ""
    is_whole = not total or (status == ShownStageStatus.COMPLETED and processed == total)
    amount = count(processed) if is_whole else f"{count(processed)} of {whole}"
    is_stopped = status in {ShownStageStatus.ERROR, ShownStageStatus.STOPPED}
    return f"{'Stopped at ' if is_stopped else ''}{amount}{suffix}"


def worker_activity(status: str, chunk: str) -> str:
    """What a worker with this status does; `chunk` may be empty."""
    label = WorkerStatus(status).label
    if status == WorkerStatus.ERROR and chunk:
        return f"{label}: {chunk}"
    return chunk if status == WorkerStatus.PROCESSING and chunk else label


def _two_units(milliseconds: int, large_ms: int, large: str, small_ms: int, small: str) -> str:
    rest = milliseconds % large_ms // small_ms
    return f"{milliseconds // large_ms}{NBSP}{large}{NBSP}{rest:02d}{NBSP}{small}"
