"""Reads bodies on the event loop, and bounds what all of them together hold in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from api.errors import WarehouseUnavailable
from api.server.asgi_types import Receive


class ClientDisconnected(Exception):
    """The client hung up before its body was complete."""


class HeldBytes:
    """The bytes that the requests of a process hold, by workspace. Used on one event loop."""

    def __init__(self, max_bytes: int, message: str) -> None:
        """One workspace can hold a quarter of `max_bytes`. `message` is what a client reads whose body is too much."""
        self._max_bytes = max_bytes
        self._message = message
        self._by_workspace: Counter[str] = Counter()
        self.total = 0

    def add(self, workspace_id: str, size: int) -> None:
        """
        Raises:
            WarehouseUnavailable: there are too many, of this workspace or of all.
        """
        of_workspace = self._by_workspace[workspace_id] + size
        if size > 0 and (self.total + size > self._max_bytes or of_workspace > self._max_bytes // 4):
            raise WarehouseUnavailable(self._message)
        self._by_workspace[workspace_id] = of_workspace
        self.total += size

    def release(self, workspace_id: str, size: int) -> None:
        """Subtracts the bytes that were added."""
        self.total -= size
        self._by_workspace[workspace_id] -= size
        if not self._by_workspace[workspace_id]:
            del self._by_workspace[workspace_id]


class Held:
    """The bytes that one request holds, until the block ends. `workspace_id` is set once it is known whose they are."""

    def __init__(self, held_bytes: HeldBytes) -> None:
        self.workspace_id = ""
        self._held_bytes = held_bytes
        self._size = 0

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._size:
            self._held_bytes.release(self.workspace_id, self._size)
            self._size = 0

    def add(self, size: int) -> None:
        """Holds more. Raises as HeldBytes.add."""
        if size:
            self._held_bytes.add(self.workspace_id, size)
            self._size += size


async def read_all(receive: Receive, max_bytes: int, hold: Callable[[int], object] = lambda _: None) -> bytes:
    """The body, at most one byte or piece more than the bound. `hold` is called with the size of each piece.

    Raises:
        ClientDisconnected: the client hung up.
        WarehouseUnavailable: from `hold`.
    """
    body = bytearray()
    while len(body) <= max_bytes:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        chunk = message.get("body", b"")
        hold(len(chunk))
        if not body and not message.get("more_body", False):
            return bytes(chunk)
        body += chunk
        if not message.get("more_body", False):
            break
    return bytes(body)
