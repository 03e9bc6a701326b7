"""Server-Sent Events over HTTP.

views         the two streams: what a request asks for, and how it is refused
decorators    `@stream_view`: decide in a thread, stream in the event loop
response      one stream from its admission to its end, or the 204 in its place
limits        how many streams may be open, and whether each viewer may still watch
cors          which other origins may read
asgi, writer  in front of Django: fewer threads per request, no task woken per frame
"""
