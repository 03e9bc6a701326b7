"""The JSON API under `/api/v1/`: `api.py` builds it, `jobs.py` holds its main operations.

`errors.py` gives every error one shape, `auth.py` decides who may use an operation, and
`openapi.py` and `stream_docs.py` generate the document that describes it, with the texts in
`descriptions/`.
"""
