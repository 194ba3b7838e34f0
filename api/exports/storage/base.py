"""The interface of a storage, and the validation of its keys."""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol

from api.errors import StorageError

_NAME = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"


class Upload(Protocol):
    """An unfinished file."""

    def write(self, data: bytes, /) -> int:
        """Writes all of the bytes.

        Raises:
            StorageError: they could not be written.
        """


class Storage(Protocol):
    """Files with keys `<export id>/<attempt token>.<extension>`. All methods raise StorageError if the storage fails."""

    def create(self, key: str, content_type: str) -> AbstractContextManager[Upload]:
        """A new file. It becomes visible when the block ends normally; an exception in the block leaves nothing behind."""

    def delete(self, key: str) -> None:
        """Deletes a file; does nothing if it does not exist."""

    def delete_leftovers(self, prefix: str, *, but: Collection[str] = ()) -> None:
        """Deletes all files of an export, complete or unfinished, except those of some keys."""

    def erase(self, prefix: str, *, but: Collection[str] = ()) -> None:
        """Deletes all files of an export, except those of some keys, with their content: also for who is reading them now."""

    def open(self, key: str) -> BinaryIO:
        """Opens a file for reading."""

    def url(self, key: str, file_name: str, content_type: str, seconds: int) -> str | None:
        """A URL of the storage that serves the file as an attachment for some seconds; None if the API has to serve it."""


def checked_key(key: str) -> str:
    """Returns the key if it is valid.

    Raises:
        StorageError: it is malformed, or would lead out of the storage.
    """
    if not re.fullmatch(f"{_NAME}(/{_NAME})+", key):
        raise StorageError("There is no such file.", hint=f"The key {key!r} is invalid.", is_lasting=True)
    return key


def checked_folder(prefix: str) -> str:
    """Returns the folder of an export, without a trailing slash.

    Raises:
        StorageError: the prefix is invalid; empty, for example, which would be the whole storage.
    """
    folder = prefix.rstrip("/")
    if not re.fullmatch(f"{_NAME}(/{_NAME})*", folder):
        raise StorageError("There is no such export.", hint=f"The prefix {prefix!r} is invalid.", is_lasting=True)
    return folder
