"""Files in a folder: complete or absent."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from api.errors import FileMissing, StorageError
from api.exports.storage import storage_of
from api.exports.storage.local import LocalStorage
from api.settings import PROJECT_ROOT, Settings

KEY = "exp_1/attempt.csv"


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "exports")


def files(storage: LocalStorage) -> list[str]:
    return sorted(str(path.relative_to(storage.folder)) for path in storage.folder.rglob("*") if path.is_file())


def test_a_file_appears_when_it_is_complete(storage: LocalStorage) -> None:
    with storage.create(KEY, "text/csv") as upload:
        assert upload.write(b"one") == 3
        upload.write(b"two")
        assert files(storage) == [f"{KEY}.partial"]
    assert files(storage) == [KEY]
    with storage.open(KEY) as file:
        storage.delete(KEY)
        storage.delete(KEY)
        assert file.read() == b"onetwo"
    assert list(storage.folder.iterdir()) == []
    assert storage.url(KEY, "a.csv", "text/csv", 60) is None


def test_only_this_user_can_read_the_files(storage: LocalStorage) -> None:
    before = os.umask(0)
    try:
        with storage.create(KEY, "text/csv"):
            pass
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (storage.folder, storage.path(KEY).parent, storage.path(KEY))]
    assert modes == [0o700, 0o700, 0o600]


@pytest.mark.parametrize("problem", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_an_interrupted_upload_leaves_no_file(storage: LocalStorage, problem: type[BaseException]) -> None:
    def interrupted() -> None:
        with storage.create(KEY, "text/csv") as upload:
            upload.write(b"one")
            raise problem

    with pytest.raises(problem):
        interrupted()
    assert list(storage.folder.iterdir()) == []


def test_a_file_that_was_deleted_during_writing_stays_deleted(storage: LocalStorage) -> None:
    """A worker that was considered dead continues; the files that the recovery deleted stay deleted."""

    def write_after_deletion() -> None:
        with storage.create(KEY, "text/csv") as upload:
            upload.write(b"one")
            storage.delete_leftovers("exp_1")
            upload.write(b"two")

    with pytest.raises(StorageError) as raised:
        write_after_deletion()
    assert not raised.value.is_lasting
    assert list(storage.folder.iterdir()) == []


def test_leftovers_of_other_exports_stay(storage: LocalStorage) -> None:
    for key in ("exp_1/1.csv", "exp_1/2.csv", "exp_10/1.csv"):
        with storage.create(key, "text/csv"):
            pass
    (storage.folder / "exp_1" / "3.csv.partial").touch()
    (storage.folder / "exp_1" / "2.csv.partial").touch()
    storage.delete_leftovers("exp_1/", but=["exp_1/2.csv"])
    assert files(storage) == ["exp_1/2.csv", "exp_1/2.csv.partial", "exp_10/1.csv"]
    storage.delete_leftovers("exp_1")
    storage.delete_leftovers("exp_1")
    assert files(storage) == ["exp_10/1.csv"]
    assert not (storage.folder / "exp_1").exists()


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "a",
        "/etc/passwd",
        "../a/b",
        "a/../b",
        "a/..",
        "a/./b",
        "a//b",
        "a/b/",
        "./a/b",
        "a\\b/c",
        "a/b\0",
        "a/b\n",
        "é/b",
        "a/.hidden",
    ],
)
def test_keys_cannot_lead_out_of_the_folder(storage: LocalStorage, key: str) -> None:
    def created() -> None:
        with storage.create(key, "text/csv"):
            pass

    for call in (created, lambda: storage.open(key), lambda: storage.delete(key)):
        with pytest.raises(StorageError):
            call()
    if key != "a":
        for call in (lambda: storage.delete_leftovers(key), lambda: storage.delete_leftovers("exp_1", but=[key])):
            if key.rstrip("/") == key or key == "/":
                with pytest.raises(StorageError):
                    call()
    assert not storage.folder.exists()


def test_a_missing_file(storage: LocalStorage) -> None:
    with pytest.raises(FileMissing, match="no longer exists") as raised:
        storage.open(KEY)
    assert raised.value.is_lasting


def test_a_folder_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    storage = LocalStorage(tmp_path / "file" / "exports")
    with pytest.raises(StorageError, match="is not writable") as raised, storage.create(KEY, "text/csv"):
        pass
    assert raised.value.is_lasting
    assert str(tmp_path) in raised.value.hint
    # the message for users does not contain the path
    assert str(tmp_path) not in raised.value.message


def test_errors_of_the_disk_have_different_messages(storage: LocalStorage) -> None:
    messages = {
        number: (
            storage.storage_error(OSError(number, os.strerror(number))).message,
            storage.storage_error(OSError(number, "")).is_lasting,
        )
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
    }
    assert messages == {
        errno.ENOSPC: ("The export storage is full.", False),
        errno.EDQUOT: ("The export storage is full.", False),
        errno.EFBIG: ("The file is too large for the export storage.", True),
        errno.EROFS: ("The export storage is not writable.", True),
        errno.EIO: ("The export storage is temporarily unavailable.", False),
    }


# writes more than fits on the disk
FILL_DISK = """
import resource, sys
from pathlib import Path
from api.errors import FileMissing, StorageError
from api.exports.storage.local import LocalStorage
folder = Path(sys.argv[1])
if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
storage = LocalStorage(folder)
try:
    with storage.create("exp_1/attempt.csv", "text/csv") as upload:
        for _ in range(40):
            upload.write(bytes(100_000))
    print("whole")
except StorageError as error:
    print(error.message, error.is_lasting, [path.name for path in folder.rglob("*")])
with storage.create("exp_1/small.csv", "text/csv") as upload:
    upload.write(b"there is space again")
print(storage.path("exp_1/small.csv").stat().st_size)
"""


@pytest.mark.slow
def test_a_full_disk_leaves_no_file(tmp_path: Path) -> None:
    """A disk of 2 MB, mounted in the namespace of a process."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    mount = f"mount -t tmpfs -o size=2m none {tmp_path}"
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*unshare, "sh", "-c", mount], capture_output=True).returncode != 0:
        pytest.skip("mounting is not allowed")
    done = subprocess.run(
        [*unshare, "sh", "-c", f'{mount} && exec "$@"', "-", sys.executable, "-c", FILL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=PROJECT_ROOT,
        timeout=60,
    )
    assert done.stdout.splitlines() == ["The export storage is full. False []", "20"], done.stderr


@pytest.mark.slow
def test_a_file_that_is_too_large_leaves_no_file(tmp_path: Path) -> None:
    program = [sys.executable, "-c", FILL_DISK, str(tmp_path), "1000000"]
    done = subprocess.run(program, capture_output=True, text=True, cwd=PROJECT_ROOT, timeout=60)
    assert done.stdout.splitlines() == ["The file is too large for the export storage. True []", "20"], done.stderr


def test_boto3_is_not_imported_without_a_bucket(tmp_path: Path) -> None:
    """It takes a third of a second and 40 MB."""
    program = (
        "import sys; from pathlib import Path; from api.settings import Settings; from api.exports.storage import storage_of;"
        " storage_of(Settings(None, None, Path(sys.argv[1]))); print({'boto3', 'pyarrow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
    storage = storage_of(Settings(None, None, tmp_path))
    assert isinstance(storage, LocalStorage)
    assert storage.folder == tmp_path / "exports"
