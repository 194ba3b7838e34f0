"""Exported files in a local folder that only this user can read."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import BinaryIO

from api.errors import FileMissing, StorageError
from api.exports.storage.base import checked_folder, checked_key

# suffix of an unfinished file
PARTIAL = ".partial"
PERMANENT_ERRORS = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EFBIG, errno.ENAMETOOLONG, errno.ELOOP}
)
DISK_FULL_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT})
FILE_MISSING = "The file no longer exists."


class LocalStorage:
    """A folder with a subfolder per export."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def create(self, key: str, content_type: str) -> Iterator[_LocalUpload]:
        """Writes a partial file, syncs it to disk and renames it."""
        path = self.path(key)
        partial = path.with_name(path.name + PARTIAL)
        with self._converted_errors():
            upload = _LocalUpload(self._new_file(partial), self)
        written = partial
        try:
            try:
                yield upload
                with self._converted_errors():
                    os.fsync(upload.descriptor)
            finally:
                os.close(upload.descriptor)
            with self._converted_errors():
                written = partial.rename(path)
                _sync_folder(path.parent)
                _sync_folder(self.folder)
        except BaseException:
            for remove in (written.unlink, path.parent.rmdir):
                with contextlib.suppress(OSError):
                    remove()
            raise

    def delete(self, key: str) -> None:
        """Deletes a file and its partial file."""
        path = self.path(key)
        with self._converted_errors():
            path.unlink(missing_ok=True)
            path.with_name(path.name + PARTIAL).unlink(missing_ok=True)
            self._remove_if_empty(path.parent)

    def delete_leftovers(self, prefix: str, *, but: Collection[str] = ()) -> None:
        """Deletes the files in an export's folder."""
        self._delete_files(prefix, but, lambda path: None)

    def erase(self, prefix: str, *, but: Collection[str] = ()) -> None:
        """Empties the files in an export's folder, and deletes them: a download that is running ends."""
        self._delete_files(prefix, but, _empty)

    def _delete_files(self, prefix: str, but: Collection[str], prepare: Callable[[Path], None]) -> None:
        folder = self.folder / checked_folder(prefix)
        keep = {self.path(key) for key in but}
        keep |= {path.with_name(path.name + PARTIAL) for path in keep}
        with self._converted_errors():
            for path in sorted(folder.rglob("*"), reverse=True):
                if path.is_dir() and not path.is_symlink():
                    self._remove_if_empty(path)
                elif path not in keep:
                    prepare(path)
                    path.unlink(missing_ok=True)
            self._remove_if_empty(folder)

    def open(self, key: str) -> BinaryIO:
        """Opens a file; it stays readable if it is deleted meanwhile."""
        with self._converted_errors(missing=FILE_MISSING):
            return io.open(self.path(key), "rb")  # noqa: UP020

    def path(self, key: str) -> Path:
        """The path of a key."""
        return self.folder / checked_key(key)

    def url(self, key: str, file_name: str, content_type: str, seconds: int) -> str | None:
        """None: the API serves these files itself."""
        return None

    def _new_file(self, partial: Path) -> int:
        for _ in range(10):
            # the mode applies to the last folder only; its parents belong to the operator
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            partial.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # another process may just have deleted the empty folder
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
    def _converted_errors(self, missing: str = "") -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self.storage_error(error, missing) from error

    def storage_error(self, error: OSError, missing: str = "") -> StorageError:
        """Converts an OSError."""
        if error.errno in DISK_FULL_ERRORS:
            return StorageError(
                "The export storage is full.", hint=f"Free space on the disk of {self.folder}: {error}", is_lasting=False
            )
        if missing and isinstance(error, FileNotFoundError):
            return FileMissing(missing, hint=str(error), is_lasting=True)
        if error.errno == errno.EFBIG:
            message = "The file is too large for the export storage."
        elif error.errno in PERMANENT_ERRORS:
            message = "The export storage is not writable."
        else:
            message = "The export storage is temporarily unavailable."
        return StorageError(message, hint=f"Check {self.folder}: {error}", is_lasting=error.errno in PERMANENT_ERRORS)


class _LocalUpload:
    """An unfinished file."""

    def __init__(self, descriptor: int, storage: LocalStorage) -> None:
        self.descriptor = descriptor
        self._storage = storage

    def write(self, data: bytes, /) -> int:
        """Writes all of the bytes. A nearly full disk accepts only a part of them at a time."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self.descriptor, rest) :]
        except OSError as error:
            raise self._storage.storage_error(error) from error
        return len(data)


def _empty(path: Path) -> None:
    if path.is_symlink():
        return
    # it may be deleted meanwhile
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
