"""`manage.py doctor`: does a stream reach browsers unharmed through the proxies of a site?

A `ProbeRun` sends a `ProbeJob` to every `Endpoint` and keeps a `ProbeResult` of each, read with
`http` and `sse`. `checks` turn a result into findings, and `report` shows them.
"""
