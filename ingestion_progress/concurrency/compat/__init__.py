"""Private names of other libraries: one module per library, and no use of them elsewhere.

Each imports its library, so a module of an optional one is imported only where that is in use.
`pyproject.toml` caps the versions; tests/concurrency/test_compat.py says what to read before a cap
is raised.
"""
