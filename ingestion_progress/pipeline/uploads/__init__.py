"""A file from outside becomes a stored document and a queued job.

`receive` takes it, whoever sends it; `names`, `media_types` and `zip_safety` decide what it is and
whether it can be read; `replacement` puts it in the place of the document's former version.
"""
