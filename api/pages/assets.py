"""The pages' own files: compressed once, and under a path that changes with them, so that browsers keep them for a year."""

from __future__ import annotations

import gzip
import hashlib
import importlib.resources
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from flask import Response, request

YEAR = "public, max-age=31536000, immutable"
CONTENT_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True)
class StaticFile:
    """A file that is always the same."""

    name: str
    content: bytes
    compressed: bytes

    def response(self) -> Response:
        """200, compressed if the client can read that."""
        takes_gzip = request.accept_encodings["gzip"] > 0
        response = Response(self.compressed if takes_gzip else self.content)
        response.headers["Content-Type"] = CONTENT_TYPES[self.name.rpartition(".")[2]]
        response.headers["Cache-Control"] = YEAR
        response.headers["Vary"] = "Accept-Encoding"
        if takes_gzip:
            response.headers["Content-Encoding"] = "gzip"
        return response


@dataclass(frozen=True)
class StaticFiles:
    """All files by name, and the digest of all of them, which is a part of their path."""

    digest: str
    files: Mapping[str, StaticFile]


def static_file(name: str, content: bytes) -> StaticFile:
    """A file with its compressed form, the same at each call."""
    return StaticFile(name, content, gzip.compress(content, 9, mtime=0))


@cache
def static_files() -> StaticFiles:
    """The files of the folder static."""
    folder = importlib.resources.files("api.pages").joinpath("static")
    contents = {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.name.rpartition(".")[2] in CONTENT_TYPES}
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(contents):
        # each part with its length, so that different files never hash the same bytes
        digest.update(b"%d:%b%d:" % (len(name), name.encode(), len(contents[name])))
        digest.update(contents[name])
    return StaticFiles(digest.hexdigest(), {name: static_file(name, content) for name, content in contents.items()})
