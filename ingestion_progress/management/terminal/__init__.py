"""Jobs in the terminal.

text       what is printed about a job, without control characters
views      bars on a terminal, a line per step elsewhere, or JSON
following  subscribes to the feed, and counts how the jobs end
"""
