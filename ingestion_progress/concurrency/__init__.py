"""Threads for blocking calls, and every use of a private name of another library."""
