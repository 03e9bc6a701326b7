"""Vectors in a local folder, without a server: Qdrant Edge in a separate process.

Only one process may open a folder of Qdrant Edge, and opening, flushing and closing it takes some
30 waits for the disk. So a small process (`process.py`) holds it open, and serves the other
processes of the host over a Unix socket in the folder. The first call starts it, and it ends soon
after the last process that uses it. A crash of the engine ends that process, not a worker or a web
process: for example, a full disk kills whatever writes into a memory-mapped file.

    vectors.py       the VectorStore that the pipeline sees: requests, and sentences for errors
    connections.py   connects, starts the process, repeats after a crash, and stops at a deadline
    process.py       the process: lock, socket, threads, end
    index.py         the collections of the folder, flushes, errors
    shard.py         what it does in the folder: the only module that opens a shard of Edge
    files.py         the names of the files
    queries.py       the filters and queries of a shard
    former.py        reads the folders of qdrant-client's local mode, which was used before
"""
