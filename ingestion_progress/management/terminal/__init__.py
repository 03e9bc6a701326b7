"""Jobs in the terminal.

output     text without control characters
command    the base of the commands
text       what is printed about a job
views      bars on a terminal, a line per step elsewhere, or JSON
following  subscribes to the feed, and counts how the jobs end
"""
