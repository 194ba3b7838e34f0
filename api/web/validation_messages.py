"""The texts of marshmallow's errors. Without Flask: the worker and the scheduler check requests, too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def flatten_messages(messages: Any) -> Iterator[str]:
    """marshmallow's messages for a field: a list of texts, or for a list field a mapping from index to messages."""
    if isinstance(messages, Mapping):
        for index, inner in messages.items():
            yield from (f"{index}: {message}" for message in flatten_messages(inner))
    else:
        yield from messages
