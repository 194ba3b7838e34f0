"""How the two processes speak: frames of a kind, a length and as many bytes."""

from __future__ import annotations

import math
import os
import select
import struct
import time

HEADER = struct.Struct(">cI")
# a request; and the answers: a picture, too large, an error
DRAW, DRAWN, TOO_LARGE, FAILED = b"d", b"p", b"l", b"e"
MAX_FRAME_BYTES = 64 * 2**20
CHUNK_BYTES = 2**16


class NoFrame(Exception):
    """The other process has ended."""


class FrameTimeout(Exception):
    """A frame was not complete in time."""


def write_frame(descriptor: int, kind: bytes, content: bytes) -> None:
    """Writes a whole frame.

    Raises:
        OSError: the other process has ended.
    """
    rest = memoryview(HEADER.pack(kind, len(content)) + content)
    while rest:
        rest = rest[os.write(descriptor, rest[:CHUNK_BYTES]) :]


def read_frame(descriptor: int, seconds: float) -> tuple[bytes, bytes]:
    """The kind and the content of the next frame, which must be complete within some seconds.

    Raises:
        NoFrame: the other process has ended.
        FrameTimeout: it was not complete.
    """
    deadline = time.monotonic() + seconds
    kind, length = HEADER.unpack(_read(descriptor, HEADER.size, deadline))
    if length > MAX_FRAME_BYTES:
        raise NoFrame
    return kind, _read(descriptor, length, deadline)


def _read(descriptor: int, length: int, deadline: float) -> bytes:
    parts = bytearray()
    # not select(), which takes no descriptor above 1023: a server has one for each client
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while len(parts) < length:
        # rounded up: less than a millisecond would be no wait
        if not poll.poll(math.ceil(max(deadline - time.monotonic(), 0) * 1000)):
            raise FrameTimeout
        part = os.read(descriptor, min(length - len(parts), CHUNK_BYTES))
        if not part:
            raise NoFrame
        parts += part
    return bytes(parts)
