"""Stored documents as things: what exists for whom, the API's operations, and ingesting again.

access.py      the documents that exist for a request, and their filters
schemas.py     the data of the operations
api.py         list, show, delete, ingest again
contents.py    chunks, entities, relations, and the original file
"""
