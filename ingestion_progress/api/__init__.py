"""The JSON API under `/api/v1/`: `build.py` puts it together, `jobs.py` is its heart.

What goes wrong is answered in one shape (`errors.py`), who may do what is asked in one place
(`guards.py`), and the documents that describe it all are generated (`openapi.py`, `wire.py`,
`typescript.py`).
"""
