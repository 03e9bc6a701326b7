"""The applications that are measured: one process serves each module, which streams frames.

Each client gets `BENCH_RATE` frames a second, and as many as the process can send once the file
`BENCH_FULL_SPEED_SIGNAL` exists.
"""
