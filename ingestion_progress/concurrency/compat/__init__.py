"""Private names of other libraries: one module per library, and no use of them elsewhere.

Each imports its library, so that of an optional library is imported only where it is used.
`pyproject.toml` caps the versions; tests/concurrency/test_compat.py says what to read before a cap
is raised.
"""
