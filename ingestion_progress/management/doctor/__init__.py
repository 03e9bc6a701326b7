"""Is the way from the application to a browser right? What `manage.py doctor` looks at, and how.

`hops` are the addresses on that way; `probing` reads from them and notes when each piece came,
which `arrivals` understands; `marked_job` is what is sent; `examination` sends and keeps
`observations`. `answers`, `deliveries` and `resumptions` judge these, each check one of the
`findings`; `verdicts` puts them together and says between which hops a fault arises; `report`
shows it.
"""
