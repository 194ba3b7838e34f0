"""The control of `bench intake`: under the same server as the intake, it reads a body and answers, and does nothing else."""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from typing import Any

from api.processes.parent_death import end_with_parent
from api.server.exchange import Exchange, make_response
from api.server.prefork import serve
from api.settings import Settings

RESPONSE = make_response(200, [("content-type", "application/json")], b'{"success":true}')


class Control:
    """The app."""

    def handle(self, exchange: Exchange) -> Coroutine[Any, Any, None] | None:
        """Reads the body, as the intake reads one whose length was announced."""
        if not exchange.is_complete:
            return self._read(exchange)
        exchange.take()
        exchange.respond(RESPONSE)
        return None

    async def _read(self, exchange: Exchange) -> None:
        await exchange.read_whole()
        exchange.respond(RESPONSE)


def make_control() -> Control:
    """The app of this process."""
    end_with_parent()
    return Control()


if __name__ == "__main__":
    end_with_parent()
    serve(Settings.from_environment(), make_control, workers=int(sys.argv[1]))
