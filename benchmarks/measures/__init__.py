"""The measurements: functions that measure one candidate, for the kinds of runs."""
