"""Values with their texts, which Python and JavaScript format alike."""

from collections.abc import Sequence
from typing import Any

from ingestion_progress.web import formatting, names, stage_texts

S, MIN, H = 1000, 60_000, 3_600_000

# Some are no stored sentence, or only almost.
STORED = [
    *("", "“a.txt” is empty.", "“50 %(s).txt” is empty.", "“a” is empty.” is empty."),
    *("“” is empty.", "“a.txt” is empty", "page 3", "page turner", "Failed: Connection refused"),
    *("Failed: “a.txt” has no slides.", "Waiting for the model at llm:8000.", "Its worker died."),
    "Lost: Its worker died. The job was lost or failed 3 times in a row: no further attempt.",
    "“The disk is full.” is empty.",
    "“a.txt” is empty." + "x" * 4000,
]

# The function's name in Python and in JavaScript: arguments and result.
CASES = {
    ("label", "label"): [
        (["parsing"], "Parsing"),
        (["vlm"], "VLM"),
        (["entity_linking-2"], "Entity linking 2"),
        ([""], ""),
    ],
    ("job_label", "jobLabel"): [
        (["succeeded", 0], "Succeeded"),
        (["succeeded", 1], "Succeeded with 1 error"),
        (["succeeded", 1200], "Succeeded with 1,200 errors"),
        (["running", 3], "Running"),
        (["failed", 3], "Failed"),
    ],
    ("count", "count"): [([0], "0"), ([999], "999"), ([1234567], "1,234,567")],
    ("unit", "unit"): [
        (["pages", 0], "pages"),
        (["pages", 1], "page"),
        (["pages", 2], "pages"),
        (["entries", 1], "entries"),
        (["boxes", 1], "boxes"),
        (["glass", 1], "glass"),
        (["MB", 1], "MB"),
        (["", 1], ""),
    ],
    ("percent", "percent"): [([0], "0%"), ([99.9], "99%"), ([100], "100%"), ([46.8], "46%")],
    ("exact_percent", "exactPercent"): [
        ([0], "0%"),
        ([0.1], "0.1%"),
        ([68], "68.0%"),
        ([99.9], "99.9%"),
        ([100], "100%"),
    ],
    ("duration", "duration"): [
        ([0], "0 s"),
        ([99], "0 s"),
        ([450], "0.4 s"),
        ([999], "0.9 s"),
        ([S], "1 s"),
        ([59_999], "59 s"),
        ([MIN], "1 min 00 s"),
        ([72_500], "1 min 12 s"),
        ([H], "1 h 00 min"),
        ([H + 5 * MIN], "1 h 05 min"),
        ([52 * H], "2 d 04 h"),
    ],
    ("exact_duration", "exactDuration"): [
        ([450], "0.4 s"),
        ([S], "1.0 s"),
        ([9_999], "9.9 s"),
        ([10_000], "10 s"),
        ([72_500], "1 min 12 s"),
    ],
    ("age", "age"): [
        ([0], "just now"),
        ([59_999], "just now"),
        ([MIN], "1 min ago"),
        ([H - 1], "59 min ago"),
        ([5 * H + 59 * MIN], "5 h ago"),
        ([49 * H], "2 d ago"),
    ],
    ("rate", "rate"): [
        ([0, S], ""),
        ([5, 0], ""),
        ([1234, S], "1,234 per s"),
        ([99, 10 * S], "9.9 per s"),
        ([10, 10 * S], "1 per s"),
        ([9, 10 * S], "54 per min"),
        ([3, 2 * MIN], "1.5 per min"),
        ([1, 2 * MIN], "30 per h"),
        ([1, 9 * H], "0.1 per h"),
        ([1, 100 * H], ""),
    ],
    ("peak", "peak"): [([""], ""), (["12 per s"], "at most 12 per s")],
    ("axis_label", "axisLabel"): [
        ([0, MIN], "0"),
        ([500, 500], "0.5 s"),
        ([90 * S, 30 * S], "90 s"),
        ([90 * MIN, 30 * MIN], "90 min"),
        ([6 * H, 2 * H], "6 h"),
        ([48 * H, 24 * H], "2 d"),
    ],
    ("remaining", "remaining"): [
        ([0], ""),
        ([9_000], "a few seconds left"),
        ([10_000], "about 10 s left"),
        ([41_000], "about 50 s left"),
        ([50_001], "about 1 min left"),
        ([MIN], "about 1 min left"),
        ([61_000], "about 1 min 15 s left"),
        ([75_001], "about 1 min 30 s left"),
        ([3 * MIN], "about 3 min left"),
        ([3 * MIN + 1], "about 4 min left"),
        ([H + 5 * MIN], "about 1 h 05 min left"),
        ([9_000, 3_000, 20_000], "a few seconds left"),
        ([20_000, 12_000, 45_000], "about 20 s left (10–50 s)"),
        ([20_000, 9_999, 51_000], "about 20 s left (up to 1 min)"),
        ([3 * MIN, 2 * MIN, 5 * MIN], "about 3 min left (2–5 min)"),
        ([3 * MIN, MIN - 1, 61 * MIN], "about 3 min left (up to 2 h)"),
        ([2 * H, H, 5 * H], "about 2 h 00 min left (1–5 h)"),
    ],
    ("with_reason", "withReason"): [
        (["", ""], ""),
        (["", "Later than expected"], "Later than expected"),
        (["about 3 min left", ""], "about 3 min left"),
        (["about 3 min left", "No history yet"], "about 3 min left · No history yet"),
    ],
    ("error_note", "errorNote"): [([0], ""), ([1200], "Errors during ingestion: 1,200")],
    ("attempt_note", "attemptNote"): [([1], ""), ([2], "Attempt 2"), ([1200], "Attempt 1,200")],
    ("waiting", "waiting"): [([""], ""), (["the model at a"], "Waiting for the model at a")],
    ("next_attempt", "nextAttempt"): [
        ([2, 3, "Why.", 5 * S], "Waiting to continue: attempt 2 of 3, due in 5 s."),
        ([3, 3, "Why.", 999], "Waiting to continue: attempt 3 of 3, due now."),
        ([3, 3, "Why.", -MIN], "Waiting to continue: attempt 3 of 3, due now."),
        ([2, 4, "", None], "Waiting to start again: attempt 2 of 4."),
    ],
    ("stage_detail", "stageDetail"): [
        (["pending", 0, 4800, "pages"], "4,800 pages to do"),
        (["pending", 0, 1, "pages"], "1 page to do"),
        (["pending", 0, 0, "pages"], ""),
        (["in_progress", 1200, 4800, "pages"], "1,200 of 4,800 pages"),
        (["in_progress", 1200, 4800, ""], "1,200 of 4,800"),
        (["in_progress", 1, 0, "pages"], "1 page"),
        (["in_progress", 0, 0, ""], "0"),
        (["completed", 4800, 4800, "pages"], "4,800 pages"),
        (["completed", 4700, 4800, "pages"], "4,700 of 4,800 pages"),
        (["completed", 7, 0, ""], "7"),
        (["error", 3, 9, "pages"], "Stopped at 3 of 9 pages"),
        (["error", 9, 9, "pages"], "Stopped at 9 of 9 pages"),
        (["error", 1, 0, "pages"], "Stopped at 1 page"),
        (["skipped", 0, 0, "pages"], "Not needed for this document"),
        (["stopped", 3, 9, "pages"], "Stopped at 3 of 9 pages"),
        (["not_run", 0, 9, "pages"], ""),
        (["pending", 0, 490, "chunks", 0, True], "about 490 chunks to do"),
        (["in_progress", 490, 490, "chunks", 0, True], "490 of about 490 chunks"),
        (["in_progress", 12, 1490, "", 3, True], "12 of about 1,490 · 3 failed"),
        (["in_progress", 12, 0, "chunks", 0, True], "12 chunks"),
        (["not_run", 0, 9, "pages", 2], "2 failed"),
        (["completed", 38, 38, "pages", 1200], "38 pages · 1,200 failed"),
    ],
    ("worker_activity", "workerActivity"): [
        (["idle", ""], "Idle"),
        (["idle", "chunk-1"], "Idle"),
        (["processing", "chunk-1"], "chunk-1"),
        (["processing", ""], "Processing"),
        (["error", "chunk-1"], "Error: chunk-1"),
        (["error", ""], "Error"),
    ],
    ("file_size", "fileSize"): [
        ([0], "0 bytes"),
        ([1023], "1023 bytes"),
        ([1024], "1.0 kB"),
        ([12_800], "12 kB"),
        ([8_912_896], "8.5 MB"),
        ([50 * 1024 * 1024], "50 MB"),
        ([3 * 1024**4], "3072 GB"),
    ],
    ("translate_stored", "translateStored"): [([text], text) for text in STORED],
}


ALL = [
    (python, javascript, arguments, answer)
    for (python, javascript), table in CASES.items()
    for arguments, answer in table
]

PYTHON = vars(formatting) | vars(names) | vars(stage_texts)
JAVASCRIPT = ("format.js", "names.js", "stage-texts.js", "stored-sentences.js")


def text_of(name: str, arguments: Sequence[Any]) -> str:
    """What the function with this name returns, in the active language."""
    text: str = PYTHON[name](*arguments)
    return text
