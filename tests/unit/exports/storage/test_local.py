"""Files in a folder: whole or not there."""

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


def test_a_file_is_there_once_it_is_whole(storage: LocalStorage) -> None:
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


def test_files_are_this_users_alone(storage: LocalStorage) -> None:
    before = os.umask(0)
    try:
        with storage.create(KEY, "text/csv"):
            pass
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (storage.folder, storage.path(KEY).parent, storage.path(KEY))]
    assert modes == [0o700, 0o700, 0o600]


@pytest.mark.parametrize("problem", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_an_interrupted_file_leaves_nothing(storage: LocalStorage, problem: type[BaseException]) -> None:
    def interrupted() -> None:
        with storage.create(KEY, "text/csv") as upload:
            upload.write(b"one")
            raise problem

    with pytest.raises(problem):
        interrupted()
    assert list(storage.folder.iterdir()) == []


def test_a_file_that_was_removed_while_it_was_written_does_not_come_back(storage: LocalStorage) -> None:
    """A worker that was taken for dead goes on: what recovery removed stays away."""

    def should_continue() -> None:
        with storage.create(KEY, "text/csv") as upload:
            upload.write(b"one")
            storage.delete_leftovers("exp_1")
            upload.write(b"two")

    with pytest.raises(StorageError) as raised:
        should_continue()
    assert not raised.value.is_lasting
    assert list(storage.folder.iterdir()) == []


def test_leftovers_are_an_exports_own(storage: LocalStorage) -> None:
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
def test_keys_do_not_lead_out_of_the_folder(storage: LocalStorage, key: str) -> None:
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


def test_a_file_that_is_not_there(storage: LocalStorage) -> None:
    with pytest.raises(FileMissing, match="not there any more") as raised:
        storage.open(KEY)
    assert raised.value.is_lasting


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    storage = LocalStorage(tmp_path / "file" / "exports")
    with pytest.raises(StorageError, match="cannot be written to") as raised, storage.create(KEY, "text/csv"):
        pass
    assert raised.value.is_lasting
    assert str(tmp_path) in raised.value.hint
    # who asked for the file does not learn where we keep it
    assert str(tmp_path) not in raised.value.message


def test_problems_of_the_disk_are_told_apart(storage: LocalStorage) -> None:
    told = {
        number: (storage.problem(OSError(number, os.strerror(number))).message, storage.problem(OSError(number, "")).is_lasting)
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
    }
    assert told == {
        errno.ENOSPC: ("The storage of exports is full.", False),
        errno.EDQUOT: ("The storage of exports is full.", False),
        errno.EFBIG: ("The file is larger than the storage of exports takes.", True),
        errno.EROFS: ("The storage of exports cannot be written to.", True),
        errno.EIO: ("The storage of exports does not work at the moment.", False),
    }


# writes more than there is room for, as a format does it
FILLING = """
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
    upload.write(b"there is room again")
print(storage.path("exp_1/small.csv").stat().st_size)
"""


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """A disk of 2 MB, in a namespace that ends with the process."""
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare here")
    mount = f"mount -t tmpfs -o size=2m none {tmp_path}"
    alone = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*alone, "sh", "-c", mount], capture_output=True).returncode != 0:
        pytest.skip("nothing can be mounted here")
    done = subprocess.run(
        [*alone, "sh", "-c", f'{mount} && exec "$@"', "-", sys.executable, "-c", FILLING, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=PROJECT_ROOT,
        timeout=60,
    )
    assert done.stdout.splitlines() == ["The storage of exports is full. False []", "19"], done.stderr


def test_a_file_that_is_too_large_leaves_nothing(tmp_path: Path) -> None:
    program = [sys.executable, "-c", FILLING, str(tmp_path), "1000000"]
    done = subprocess.run(program, capture_output=True, text=True, cwd=PROJECT_ROOT, timeout=60)
    assert done.stdout.splitlines() == ["The file is larger than the storage of exports takes. True []", "19"], done.stderr


def test_without_a_bucket_boto3_is_not_loaded(tmp_path: Path) -> None:
    """It would cost every process a third of a second and 40 MB."""
    program = (
        "import sys; from pathlib import Path; from api.settings import Settings; from api.exports.storage import storage_of;"
        " storage_of(Settings(None, None, Path(sys.argv[1]))); print({'boto3', 'pyarrow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
    storage = storage_of(Settings(None, None, tmp_path))
    assert isinstance(storage, LocalStorage)
    assert storage.folder == tmp_path / "exports"
