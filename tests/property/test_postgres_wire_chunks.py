"""The proxy's readers give the same however the network cuts the bytes."""

import itertools
import struct

from hypothesis import given
from hypothesis import strategies as st

from testbed.gateway.postgres.wire import ClientReader, ServerReader, WholeMessages

bodies = st.binary(max_size=40)


def framed(kind: int, body: bytes) -> bytes:
    return struct.pack("!BI", kind, len(body) + 4) + body


def streams(types: bytes) -> st.SearchStrategy[bytes]:
    """Messages of these types, one after the other."""
    return st.lists(st.builds(framed, st.sampled_from(list(types)), bodies), max_size=20).map(b"".join)


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    """The stream in chunks, none of them empty."""
    edges = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[start:end] for start, end in itertools.pairwise(edges)]


STARTUP = struct.pack("!II", 8, 80877103) + struct.pack("!II", 17, 196608) + b"user\0app\0"
places = st.lists(st.integers(0, 2_000), max_size=30)


@given(streams(b"QPBDESHFdcfpXC"), places)
def test_a_client_is_read_alike_in_any_chunks(messages: bytes, places: list[int]) -> None:
    """The same packets, and together they are the stream up to the last whole one: no byte lost, moved or changed."""
    stream = STARTUP + messages
    whole = ClientReader().feed(stream)
    reader = ClientReader()
    assert [packet for chunk in cut(stream, places) for packet in reader.feed(chunk)] == whole
    assert stream.startswith(b"".join(packet.data for packet in whole))


@given(streams(b"CEZDTNRSK12"), places)
def test_a_server_is_read_alike_in_any_chunks(stream: bytes, places: list[int]) -> None:
    """The watched messages are found wherever the cuts are."""
    reader = ServerReader()
    assert [found for chunk in cut(stream, places) for found in reader.feed(chunk)] == ServerReader().feed(stream)


@given(streams(b"CEZDTNRSK12"), places, places)
def test_messages_come_out_whole_in_any_chunks(stream: bytes, places: list[int], more: list[int]) -> None:
    """Of a whole stream nothing is left; of its beginning what is left is the start of a message."""
    reader = WholeMessages()
    found = [message for chunk in cut(stream, places) for message in reader.feed(chunk)]
    assert b"".join(data for _, data in found) == stream
    assert [kind for kind, _ in found] == [data[0] for _, data in found]
    assert reader.rest() == b""
    beginning = stream[: (more or [0])[0] % (len(stream) + 1)]
    assert b"".join(data for _, data in reader.feed(beginning)) + reader.rest() == beginning


@given(streams(b"QSd"))
def test_nothing_that_is_complete_is_kept(messages: bytes) -> None:
    """Where each message ends a packet, all of the stream comes out at once."""
    packets = ClientReader().feed(STARTUP + messages)
    assert b"".join(packet.data for packet in packets) == STARTUP + messages
