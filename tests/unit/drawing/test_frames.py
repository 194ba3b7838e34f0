"""Frames between the process that draws and its parent."""

from __future__ import annotations

import fcntl
import os
import resource
from collections.abc import Iterator

import pytest

from api.drawing.frames import DRAWN, FrameTimeout, NoFrame, read_frame, write_frame

# select() takes no descriptor from here on
FD_SETSIZE = 1024


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """A limit of open files as servers have it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard <= FD_SETSIZE:
        pytest.skip("this process may not have so many open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, FD_SETSIZE + 10), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_process_with_a_thousand_open_files_reads_frames(many_descriptors: None) -> None:
    reader, writer = os.pipe()
    high = fcntl.fcntl(reader, fcntl.F_DUPFD_CLOEXEC, FD_SETSIZE)
    try:
        write_frame(writer, DRAWN, b"<svg/>")
        assert read_frame(high, 5) == (DRAWN, b"<svg/>")
        os.write(writer, DRAWN)
        with pytest.raises(FrameTimeout):
            read_frame(high, 0.05)
        os.close(writer)
        with pytest.raises(NoFrame):
            read_frame(high, 5)
    finally:
        for descriptor in (reader, high):
            os.close(descriptor)
