"""The control of `bench intake`: under the same server as the intake, it reads a body and answers, and does nothing else."""

from __future__ import annotations

import sys

from api.processes.parent_death import end_with_parent
from api.server.prefork import serve
from api.server.rsgi import HTTPProtocol, RequestBody, Scope
from api.settings import Settings

CONTENT = b'{"success":true}'
HEADERS = [("content-type", "application/json"), ("content-length", str(len(CONTENT)))]


class Control:
    """The app, over RSGI as the intake."""

    async def __rsgi__(self, scope: Scope, protocol: HTTPProtocol) -> None:
        """Reads the body, as the intake reads one whose length was announced."""
        await RequestBody(protocol).read_whole()
        protocol.response_bytes(200, HEADERS, CONTENT)


def make_control() -> Control:
    """The app of this process."""
    end_with_parent()
    return Control()


if __name__ == "__main__":
    end_with_parent()
    serve(Settings.from_environment(), make_control, workers=int(sys.argv[1]))
