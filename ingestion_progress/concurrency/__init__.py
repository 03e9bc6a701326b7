"""Threads for blocking calls, and what the app needs of other libraries' private names."""
