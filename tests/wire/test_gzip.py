from __future__ import annotations

import gzip
import zlib

from hypothesis import given
from hypothesis import strategies as st

from ingestion_progress.wire.gzip import GzipMember, deflate

FRAMES = [b"event: a\ndata: %d %s\n\n" % (number, b"x" * 1000) for number in range(5)]


def test_each_frame_is_decoded_as_soon_as_it_arrives():
    member, decoder = GzipMember(), zlib.decompressobj(wbits=31)

    for frame in FRAMES:
        assert decoder.decompress(member.add(frame, deflate(frame))) == frame


def test_late_joiner_decodes_the_same_blocks():
    shared = {frame: deflate(frame) for frame in FRAMES}
    early, late = GzipMember(), GzipMember()

    everything = b"".join(early.add(frame, shared[frame]) for frame in FRAMES) + early.end()
    the_last_two = b"".join(late.add(frame, shared[frame]) for frame in FRAMES[3:]) + late.end()

    assert gzip.decompress(everything) == b"".join(FRAMES)
    assert gzip.decompress(the_last_two) == b"".join(FRAMES[3:])


@given(st.lists(st.binary(max_size=3000)))
def test_any_bodies_make_one_complete_member(bodies):
    member = GzipMember()

    sent = b"".join(member.add(body, deflate(body)) for body in bodies) + member.end()

    decoder = zlib.decompressobj(wbits=31)
    assert decoder.decompress(sent) == b"".join(bodies)
    assert decoder.eof
    assert not decoder.unused_data
