"""ETags of responses, and the cache of response bodies under them."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import orjson
from cachetools import LRUCache

from api.contract.publication import Publication

RELEASE = version("mailmart")


def entity_tag(
    publication: Publication, endpoint_name: str, settings: Mapping[str, str], response_fields: Mapping[str, Any]
) -> str:
    """The ETag of an endpoint's response, quoted: a hash of the release, the publication and the resolved request.

    It includes the time of the data, because a restored database reuses batch ids; the number of erasures, which change a batch
    that is published; and the fields that the response repeats from the request, because two requests (30d and custom) can have
    the same window.
    """
    parts = [RELEASE, publication.contract_id, publication.data_as_of.isoformat(), str(publication.revision), endpoint_name]
    parts.append(orjson.dumps(response_fields, option=orjson.OPT_SORT_KEYS).decode())
    parts += [text for name in sorted(settings) for text in (name, settings[name])]
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        encoded = part.encode()
        # each part with its length, so that different lists never hash the same text
        digest.update(b"%d:%b" % (len(encoded), encoded))
    return f'"{digest.hexdigest()}"'


class ResponseCache:
    """Response bodies by ETag; the least recently used are evicted. A new publication has new ETags: nothing is invalidated."""

    def __init__(self, megabytes: int) -> None:
        self._bodies: LRUCache[str, bytes] = LRUCache(megabytes * 2**20, getsizeof=len)
        self._lock = threading.Lock()

    def get(self, etag: str) -> bytes | None:
        """The body; None if it is not cached."""
        with self._lock:
            return self._bodies.get(etag)

    def put(self, etag: str, body: bytes) -> None:
        """Caches a body, unless it is larger than a tenth of the cache."""
        if len(body) * 10 > self._bodies.maxsize:
            return
        with self._lock:
            self._bodies[etag] = body
