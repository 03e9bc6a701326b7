"""`manage.py doctor`: checks whether streams reach browsers unchanged through a site's proxies.

A `ProbeRun` sends a `ProbeJob` to every `Endpoint` and keeps a `ProbeResult` of each, read with
`http` and `sse`. `checks` turn a result into findings, and `report` shows them.
"""
