"""Turns an uploaded file into a stored document and a queued job.

`receive` does it; `names`, `media_types` and `zip_safety` check the file; `uploaded_version` makes
it a version of its document.
"""
