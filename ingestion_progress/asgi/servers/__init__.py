"""Adapters for ASGI servers, each imported only by the command that starts its server."""
