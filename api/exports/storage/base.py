"""What a storage is, and which keys it takes."""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol

from api.errors import StorageError

_NAME = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"


class Upload(Protocol):
    """A file that is being written."""

    def write(self, data: bytes, /) -> int:
        """Takes all of the bytes.

        Raises:
            StorageError: they could not be kept.
        """


class Storage(Protocol):
    """Files by keys `<export id>/<attempt>.<extension>`. Everything raises StorageError where the storage does not do it."""

    def create(self, key: str, content_type: str) -> AbstractContextManager[Upload]:
        """A new file: it is there once the block was left whole; an exception in the block leaves nothing."""

    def delete(self, key: str) -> None:
        """Removes a file, also one that is not there."""

    def delete_leftovers(self, prefix: str, *, but: Collection[str] = ()) -> None:
        """Removes all files of an export, whole or unfinished, but those of some keys."""

    def open(self, key: str) -> BinaryIO:
        """A file for reading."""

    def url(self, key: str, file_name: str, content_type: str, seconds: int) -> str | None:
        """An address that gives the file as an attachment for a while; None where the API has to sign one itself (links.py)."""


def checked_key(key: str) -> str:
    """The key, if it is one of a file below the storage.

    Raises:
        StorageError: it is none, or leads out of it.
    """
    if not re.fullmatch(f"{_NAME}(/{_NAME})+", key):
        raise StorageError("There is no such file.", hint=f"The key {key!r} is none.", is_lasting=True)
    return key


def checked_folder(prefix: str) -> str:
    """An export's folder, without a slash at its end.

    Raises:
        StorageError: it is none: the whole storage, for example.
    """
    folder = prefix.rstrip("/")
    if not re.fullmatch(f"{_NAME}(/{_NAME})*", folder):
        raise StorageError("There is no such export.", hint=f"The prefix {prefix!r} is no export's.", is_lasting=True)
    return folder
