"""What is measured: each module is served by one process, and streams frames at its path.

`BENCH_RATE` frames a second to each client, and as many as the process can once the file
`BENCH_FULL_SPEED_SIGNAL` exists.
"""
