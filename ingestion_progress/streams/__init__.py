"""Server-Sent Events over HTTP.

views          the two streams, and how requests are refused
parameters     what a request asks for
decorators     `@stream_view`: decide in a thread, stream in the event loop
event_stream   one stream from its admission to its end
response       a stream as a response of Django, or the 204 in its place
limits         how many streams may be open, and whether each viewer may still watch
cors           which other origins may read
asgi, writer   in front of Django: fewer threads per request, no task woken per frame
"""
