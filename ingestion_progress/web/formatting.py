"""Texts of numbers, durations and states, in the active language.

`format.js` has the same functions and test cases.
"""

import math

from django.utils.formats import get_format
from django.utils.translation import gettext, gettext_lazy, ngettext

from ingestion_progress.exceptions.stored_sentences import translate_stored
from ingestion_progress.models.statuses import JobResult, JobStatus

NBSP = "\u00a0"  # keeps a number and its unit on one line

SECOND_MS = 1000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


def count(number: int) -> str:
    """1234567 as "1,234,567"."""
    return f"{number:,}".replace(",", get_format("THOUSAND_SEPARATOR"))


def decimal(text: str) -> str:
    """A number with a point, as the language has it."""
    return text.replace(".", get_format("DECIMAL_SEPARATOR"))


def age(milliseconds: int) -> str:
    """How long ago something was: "3 min ago", in its largest unit, rounded down."""
    if milliseconds < MINUTE_MS:
        return gettext("just now")
    if milliseconds < HOUR_MS:
        return gettext("%(number)s\u00a0min ago") % {"number": milliseconds // MINUTE_MS}
    if milliseconds < DAY_MS:
        return gettext("%(number)s\u00a0h ago") % {"number": milliseconds // HOUR_MS}
    days = milliseconds // DAY_MS
    return ngettext("%(number)s\u00a0d ago", "%(number)s\u00a0d ago", days) % {"number": days}


def queue_position(position: int) -> str:
    """1 is the job that should start next."""
    if position == 1:
        return gettext("Next in the queue")
    return gettext("Number %(number)s in the queue") % {"number": count(position)}


def jobs(number: int) -> str:
    return ngettext("%(number)s job", "%(number)s jobs", number) % {"number": count(number)}


# Texts for a number of jobs, by their status, result or what they wait for.
COUNTED_JOBS = {
    JobStatus.QUEUED.value: gettext_lazy("%(number)s waiting"),
    JobStatus.RUNNING.value: gettext_lazy("%(number)s running"),
    JobStatus.SUCCEEDED.value: gettext_lazy("%(number)s succeeded"),
    JobResult.PARTIAL.value: gettext_lazy("%(number)s succeeded with errors"),
    JobStatus.FAILED.value: gettext_lazy("%(number)s failed"),
    JobStatus.CANCELLED.value: gettext_lazy("%(number)s cancelled"),
    JobStatus.LOST.value: gettext_lazy("%(number)s lost"),
}


# What is wrong with an active job, after its status.
TROUBLES = {
    "starved": gettext_lazy("starved"),
    "stalled": gettext_lazy("stalled"),
    "silent": gettext_lazy("silent"),
    "lost": gettext_lazy("lost"),
}


def trouble(liveness: str) -> str:
    """What is wrong with a job, in a word."""
    return str(TROUBLES.get(liveness, liveness))


def jobs_with(name: str, number: int) -> str:
    """How many jobs are in a state, as `batch.js` has it."""
    return str(COUNTED_JOBS[name] % {"number": count(number)})


def number(value: float) -> str:
    """For attributes: 68.6 as "68.6", 100.0 as "100"."""
    return f"{value:g}"


def percent(value: float) -> str:
    """Whole percent, rounded down, so that only finished work shows 100%."""
    return gettext("%(number)s%%") % {"number": math.floor(value)}


def exact_percent(value: float) -> str:
    shown = f"{value:.1f}" if 0 < value < 100 else f"{value:.0f}"
    return gettext("%(number)s%%") % {"number": decimal(shown)}


def duration(milliseconds: int) -> str:
    """The two largest units, rounded down; tenths below a second."""
    if milliseconds < SECOND_MS:
        tenths = milliseconds // 100
        return f"{decimal(f'0.{tenths}')}{NBSP}s" if tenths else f"0{NBSP}s"
    if milliseconds < MINUTE_MS:
        return f"{milliseconds // SECOND_MS}{NBSP}s"
    if milliseconds < HOUR_MS:
        return _two_units(milliseconds, MINUTE_MS, "min", SECOND_MS, "s")
    if milliseconds < DAY_MS:
        return _two_units(milliseconds, HOUR_MS, "h", MINUTE_MS, "min")
    return _two_units(milliseconds, DAY_MS, "d", HOUR_MS, "h")


def exact_duration(milliseconds: int) -> str:
    """A duration to be compared with another one: tenths below ten seconds."""
    if SECOND_MS <= milliseconds < 10 * SECOND_MS:
        return f"{decimal(f'{milliseconds // 100 / 10:.1f}')}{NBSP}s"
    return duration(milliseconds)


def remaining(milliseconds: int, low_ms: int = 0, high_ms: int = 0) -> str:
    """A rounded estimate with its range: "about 3 min left (up to 5 min)"; empty if none."""
    if milliseconds <= 0:
        return ""
    if milliseconds < 10 * SECOND_MS:
        return gettext("a few seconds left")
    about = gettext("about %(time)s left") % {"time": _rounded_time(milliseconds)}
    return f"{about}{time_range(low_ms, high_ms)}"


def _rounded_time(milliseconds: int) -> str:
    if milliseconds <= 50 * SECOND_MS:
        return f"{math.ceil(milliseconds / (10 * SECOND_MS)) * 10}{NBSP}s"
    quarters = math.ceil(milliseconds / (15 * SECOND_MS))
    if milliseconds <= 3 * MINUTE_MS and quarters % 4:
        return duration(quarters * 15 * SECOND_MS)
    if milliseconds < HOUR_MS:
        return f"{math.ceil(milliseconds / MINUTE_MS)}{NBSP}min"
    return duration(milliseconds)


def with_reason(left: str, reason: str) -> str:
    """A remaining time with the reason why it is a guess, or the reason why there is none."""
    return f"{left} · {reason}" if left and reason else left or reason


def time_range(low_ms: int, high_ms: int) -> str:
    """A range in the unit of its end, rounded outwards; empty if there is none."""
    if high_ms <= 0:
        return ""
    step_ms, factor, unit = HOUR_MS, 1, "h"
    if high_ms <= 50 * SECOND_MS:
        step_ms, factor, unit = 10 * SECOND_MS, 10, "s"
    elif high_ms < HOUR_MS:
        step_ms, factor, unit = MINUTE_MS, 1, "min"
    low, high = low_ms // step_ms * factor, math.ceil(high_ms / step_ms) * factor
    if low:
        return f" ({low}–{high}{NBSP}{unit})"
    up_to = gettext("up to %(time)s") % {"time": f"{high}{NBSP}{unit}"}
    return f" ({up_to})"


def file_size(size_bytes: int) -> str:
    """Rounded down, one digit below ten: "8.4 MB", "50 MB" (of 1024² bytes)."""
    size, units = float(size_bytes), ["bytes", "kB", "MB", "GB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    has_tenths = units[0] != "bytes" and size < 10
    shown = f"{math.floor(size * 10) / 10:.1f}" if has_tenths else str(math.floor(size))
    name = gettext("bytes") if units[0] == "bytes" else units[0]
    return f"{decimal(shown)}{NBSP}{name}"


def job_label(status: str, failed_items: int) -> str:
    """The label of a status; a success with failed items says so."""
    if status != JobStatus.SUCCEEDED or not failed_items:
        return str(JobStatus(status).label)
    return ngettext(
        "Succeeded with %(number)s error", "Succeeded with %(number)s errors", failed_items
    ) % {"number": count(failed_items)}


def error_note(errors: int) -> str:
    """Errors that did not end the job; empty if there are none."""
    if not errors:
        return ""
    return gettext("Errors during ingestion: %(number)s") % {"number": count(errors)}


def attempt_note(attempt: int) -> str:
    """Only of later attempts."""
    return gettext("Attempt %(number)s") % {"number": count(attempt)} if attempt > 1 else ""


def waiting(service: str) -> str:
    """Empty if it waits for none."""
    if not service:
        return ""
    return gettext("Waiting for %(service)s") % {"service": translate_stored(service)}


def next_attempt(attempt: int, max_attempts: int, reason: str, due_in_ms: int | None) -> str:
    """What a queued job waits for. `due_in_ms` is None once its task is queued.

    `reason`: how the last attempt ended; empty if a person retries the job.
    """
    values = {"number": count(attempt), "limit": count(max_attempts)}
    if reason:
        text = gettext("Waiting to continue: attempt %(number)s of %(limit)s") % values
    else:
        text = gettext("Waiting to start again: attempt %(number)s of %(limit)s") % values
    if due_in_ms is None:
        return f"{text}."
    if due_in_ms < SECOND_MS:
        return gettext("%(text)s, due now.") % {"text": text}
    return gettext("%(text)s, due in %(time)s.") % {"text": text, "time": duration(due_in_ms)}


def rate(items: float, milliseconds: float) -> str:
    """A speed in the unit in which it is at least 1: "12 per s", "3.4 per min"; empty if none."""
    if items <= 0 or milliseconds <= 0:
        return ""
    for unit_ms, name in ((SECOND_MS, "s"), (MINUTE_MS, "min")):
        if (found := items * unit_ms / milliseconds) >= 1:
            return _per(_rounded(found), name)
    hourly = _rounded(items * HOUR_MS / milliseconds)
    return "" if hourly == "0" else _per(hourly, "h")


def _per(number: str, unit: str) -> str:
    return gettext("%(number)s per\u00a0%(unit)s") % {"number": number, "unit": unit}


def _rounded(value: float) -> str:
    """With a tenth below ten."""
    if value >= 10:
        return count(math.floor(value + 0.5))
    return decimal(f"{math.floor(value * 10 + 0.5) / 10:g}")


def peak(highest: str) -> str:
    """The text of a highest value, as a note; empty if there is none."""
    return gettext("at most %(number)s") % {"number": highest} if highest else ""


def former_jobs(number: int) -> str:
    """How many jobs the shown median is of."""
    if number == 1:
        return gettext("of the last such job")
    return gettext("median of %(number)s such jobs") % {"number": count(number)}


def axis_label(milliseconds: int, step_ms: int) -> str:
    """The label of an axis of time whose labels have this distance."""
    if not milliseconds:
        return "0"
    units = ((DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "min"), (SECOND_MS, "s"))
    unit_ms, name = next((each for each in units if step_ms >= each[0]), units[-1])
    return f"{decimal(f'{milliseconds / unit_ms:g}')}{NBSP}{name}"


def _two_units(milliseconds: int, large_ms: int, large: str, small_ms: int, small: str) -> str:
    rest = milliseconds % large_ms // small_ms
    return f"{milliseconds // large_ms}{NBSP}{large}{NBSP}{rest:02d}{NBSP}{small}"
