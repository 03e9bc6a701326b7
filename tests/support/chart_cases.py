"""Charts and axes with their paths and lengths, which Python and JavaScript draw alike."""

S, MIN, H = 1000, 60_000, 3_600_000
# Stages: status, whether items failed, length.
DONE, LONG, FAILED = ["completed", False, S], ["completed", False, MIN], ["completed", True, S]
ERROR, NOT_RUN, RUNNING = ["error", False, S], ["not_run", False, 0], ["in_progress", False, S]
PENDING, SKIPPED = ["pending", False, 0], ["skipped", False, 0]

# The function's name in Python and in JavaScript: arguments and result.
CASES = {
    ("area_path", "areaPath"): [
        ([[], 1], ""),
        ([[[0, 1]], 0], ""),
        ([[[0, 0], [33.333, 25], [100, 50]], 100], "M0 100L0 100L33.3 75L100 50L100 100Z"),
        ([[[20, 7], [100, 900]], 100], "M20 100L20 93L100 0L100 100Z"),
    ],
    ("steps_path", "stepsPath"): [
        ([[], 1], ""),
        ([[[0, 2], [50, 4]], 4], "M0 100H0V50H50V0H100V100Z"),
    ],
    ("throughput", "throughput"): [
        ([[[0, 0]], S], []),
        ([[[0, 0], [S, 5]], 0], []),
        ([[[0, 0], [S, 10], [4 * S, 10]], 4 * S], [5, 0]),
        ([[[S, 10], [2 * S, 30]], 2 * S], [10]),
    ],
    ("count_at", "countAt"): [
        ([[[S, 4], [3 * S, 8]], 0], 4),
        ([[[S, 4], [3 * S, 8]], 2 * S], 6),
        ([[[S, 4], [3 * S, 8]], 9 * S], 8),
    ],
    ("spread", "spread"): [([[7, 8]], [[0, 7], [50, 8]])],
    ("axis_ms", "axisMs"): [
        ([0, 0, 0, False], 0),
        ([0, 0, 3 * MIN, False], 3 * MIN),
        ([90 * S, 100 * S, 0, False], 4 * MIN),
        ([90 * S, 100 * S, 5 * MIN, False], 6 * MIN),
        ([61 * S, 0, 0, False], 90 * S),
        ([61 * S, 0, 0, True], 61 * S),
        ([61 * S, 0, 90 * S, True], 90 * S),
        ([61 * S, 0, H, True], 122 * S),
    ],
    ("folds", "folds"): [
        ([[DONE] * 10 + [PENDING] * 2, False], [""] * 12),
        ([[DONE] * 10 + [RUNNING, FAILED, PENDING], False], ["done"] * 10 + ["", "", "pending"]),
        ([[DONE] * 13, True], [""] * 13),
        ([[DONE] * 15, True], [""] * 15),
        ([[DONE] * 16, True], [""] * 12 + ["done"] * 4),
        ([[SKIPPED, *[DONE] * 4, *[LONG] * 12], True], ["done"] * 5 + [""] * 12),
        ([[FAILED] * 14 + [ERROR] + [NOT_RUN] * 3, True], [""] * 18),
        ([[FAILED] * 14 + [ERROR] + [NOT_RUN] * 4, True], [""] * 15 + ["pending"] * 4),
    ],
}

ALL = [
    (python, javascript, arguments, answer)
    for (python, javascript), examples in CASES.items()
    for arguments, answer in examples
]
