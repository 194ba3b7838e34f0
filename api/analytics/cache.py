"""What a version of the data was answered with: ETags, and the bodies kept under them."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import orjson

from api.contract.exposures import Endpoint
from api.contract.publication import Publication

RELEASE = version("mailmart")


def entity_tag(publication: Publication, endpoint: Endpoint, context: Mapping[str, str], shown: Mapping[str, Any]) -> str:
    """The ETag of an endpoint's answer: the release, what is published, and the resolved request with its workspace.

    The time of the data is in it as well: a database that was restored counts its batches again. So is what the answer
    shows of the request: one window has two names, 30d and custom.
    """
    parts = [RELEASE, publication.contract_id, publication.data_as_of.isoformat(), endpoint.name]
    parts.append(orjson.dumps(shown, option=orjson.OPT_SORT_KEYS).decode())
    parts += [text for name in sorted(context) for text in (name, context[name])]
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        encoded = part.encode()
        # with its length: no two lists of parts are one text
        digest.update(b"%d:%b" % (len(encoded), encoded))
    return f'"{digest.hexdigest()}"'


def is_known(if_none_match: str | None, tag: str) -> bool:
    """Whether an If-None-Match header has the tag."""
    if not if_none_match:
        return False
    return any(given.strip().removeprefix("W/") == tag for given in if_none_match.split(","))


def is_any(if_none_match: str | None) -> bool:
    """Whether an If-None-Match header means whatever there is: then it has to be found out first whether there is anything."""
    return if_none_match is not None and if_none_match.strip() == "*"


class ResponseCache:
    """Bodies by their ETags, the least recently used of which go first. A new batch makes all of them old: none is asked for."""

    def __init__(self, megabytes: int) -> None:
        self._most = megabytes * 2**20
        self._bodies: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def get(self, tag: str) -> bytes | None:
        """The body; None where it is not kept."""
        with self._lock:
            body = self._bodies.get(tag)
            if body is not None:
                self._bodies.move_to_end(tag)
            return body

    def put(self, tag: str, body: bytes) -> None:
        """Keeps a body, unless it alone would take a tenth of the room."""
        if len(body) * 10 > self._most:
            return
        with self._lock:
            before = self._bodies.pop(tag, b"")
            self._bodies[tag] = body
            self._size += len(body) - len(before)
            while self._size > self._most:
                self._size -= len(self._bodies.popitem(last=False)[1])
