"""Server-Sent Events over HTTP.

views         the two streams: what a request asks for, how it is refused, and CORS
decorators    `@stream_view`: permission in a thread, the stream in the event loop
response      one stream from its admission to its end, or the 204 instead of it
limits        how many streams may be open, and whether each viewer may still watch
asgi, writer  serve streams in front of Django: fewer thread switches, no task woken per frame
"""
