"""Turns an uploaded file into a stored document and a queued job.

`receive` does it; `names`, `media_types` and `zip_safety` check the file; `document_version`
replaces the former version of the document.
"""
