"""Parsers run in separate processes, so that a document cannot harm the worker.

Each worker starts one parser process, which has the parsers loaded (`process.py`). For each
document it forks a child, which has limits of memory and time and reads that document only
(`child.py`). `pages.py` is the worker's end: pages that are parsed in the child. The answers of a
child are JSON: bytes of a process that a document may control are never unpickled.
"""
