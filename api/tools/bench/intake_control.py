"""The control of `bench intake`: under the same server as the intake, it reads a body and answers, and does nothing else."""

from __future__ import annotations

import sys

from api.processes.parent_death import end_with_parent
from api.server.asgi_types import Receive, Scope, Send
from api.server.granian import serve
from api.settings import Settings

CONTENT = b'{"success":true}'


class Control:
    """The ASGI callable."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = bytearray()
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(CONTENT)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": CONTENT})


def make_control() -> Control:
    """The app of this process."""
    end_with_parent()
    return Control()


if __name__ == "__main__":
    end_with_parent()
    serve(Settings.from_environment(), workers=int(sys.argv[1]), target="api.tools.bench.intake_control:make_control")
