"""Exported files in a local folder, for this user's eyes only."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

from api.errors import FileMissing, StorageError
from api.exports.storage.base import checked_folder, checked_key

# of a file that is being written: nothing that could be taken for a whole one
PARTIAL = ".partial"
LASTING = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EFBIG, errno.ENAMETOOLONG, errno.ELOOP})
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
MISSING = "The file is not there any more."


class LocalStorage:
    """A folder; each export has a folder of its own in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def create(self, key: str, content_type: str) -> Iterator[_LocalUpload]:
        """Writes beside the file's place, to the disk itself, and moves it there whole."""
        path = self.path(key)
        partial = path.with_name(path.name + PARTIAL)
        with self._problems():
            upload = _LocalUpload(self._new_file(partial), self)
        written = partial
        try:
            try:
                yield upload
                with self._problems():
                    os.fsync(upload.descriptor)
            finally:
                os.close(upload.descriptor)
            with self._problems():
                written = partial.rename(path)
                _to_disk(path.parent)
                _to_disk(self.folder)
        except BaseException:
            for remove in (written.unlink, path.parent.rmdir):
                with contextlib.suppress(OSError):
                    remove()
            raise

    def delete(self, key: str) -> None:
        """Removes a file, and one of this key that is being written."""
        path = self.path(key)
        with self._problems():
            path.unlink(missing_ok=True)
            path.with_name(path.name + PARTIAL).unlink(missing_ok=True)
            self._remove_if_empty(path.parent)

    def delete_leftovers(self, prefix: str, *, but: Collection[str] = ()) -> None:
        """Removes what is in an export's folder."""
        folder = self.folder / checked_folder(prefix)
        kept = {self.path(key) for key in but}
        kept |= {path.with_name(path.name + PARTIAL) for path in kept}
        with self._problems():
            for path in sorted(folder.rglob("*"), reverse=True):
                if path.is_dir() and not path.is_symlink():
                    self._remove_if_empty(path)
                elif path not in kept:
                    path.unlink(missing_ok=True)
            self._remove_if_empty(folder)

    def open(self, key: str) -> BinaryIO:
        """A file for reading; it can be read to its end also when it is deleted meanwhile."""
        with self._problems(missing=MISSING):
            return io.open(self.path(key), "rb")  # noqa: UP020

    def path(self, key: str) -> Path:
        """Where a file is, or would be."""
        return self.folder / checked_key(key)

    def url(self, key: str, file_name: str, content_type: str, seconds: int) -> str | None:
        """None: the API serves these files itself."""
        return None

    def _new_file(self, partial: Path) -> int:
        for _ in range(10):
            # the parents of the folder are the system's, or the operator's
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            partial.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # another process may just have removed the empty folder
            with contextlib.suppress(FileNotFoundError):
                return os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(partial))

    def _remove_if_empty(self, folder: Path) -> None:
        if folder == self.folder:
            return
        try:
            folder.rmdir()
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR):
                raise

    @contextlib.contextmanager
    def _problems(self, missing: str = "") -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self.problem(error, missing) from error

    def problem(self, error: OSError, missing: str = "") -> StorageError:
        """What went wrong, as it is told."""
        if error.errno in FULL:
            return StorageError(
                "The storage of exports is full.", hint=f"Make room on the disk of {self.folder}: {error}", is_lasting=False
            )
        if missing and isinstance(error, FileNotFoundError):
            return FileMissing(missing, hint=str(error), is_lasting=True)
        if error.errno == errno.EFBIG:
            message = "The file is larger than the storage of exports takes."
        elif error.errno in LASTING:
            message = "The storage of exports cannot be written to."
        else:
            message = "The storage of exports does not work at the moment."
        return StorageError(message, hint=f"See to {self.folder}: {error}", is_lasting=error.errno in LASTING)


class _LocalUpload:
    """A file that is being written."""

    def __init__(self, descriptor: int, storage: LocalStorage) -> None:
        self.descriptor = descriptor
        self._storage = storage

    def write(self, data: bytes, /) -> int:
        """Writes all of the bytes: a disk that is nearly full takes a part of them."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self.descriptor, rest) :]
        except OSError as error:
            raise self._storage.problem(error) from error
        return len(data)


def _to_disk(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
