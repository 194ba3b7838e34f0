"""Files in dbt's target folder with what a command has made, and the next one would make again.

A file begins with a checksum, because a process can end while it writes. Its name has the releases of what it depends on: another
release does not read it. Like a `.pyc`, it is trusted: who can write to this folder can change the project's macros.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

CHECKSUM_BYTES = 32


def file_name(kind: str, packages: Sequence[str]) -> str:
    """Another one for other code: of Python, or of one of these packages."""
    releases = [importlib.util.MAGIC_NUMBER.hex(), *(version(name) for name in packages)]
    return f"{kind}-{hashlib.sha256(' '.join(releases).encode()).hexdigest()[:12]}.bin"


def read_kept(path: Path) -> bytes | None:
    """What was written; None if there is nothing, or it is damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    checksum, kept = content[:CHECKSUM_BYTES], content[CHECKSUM_BYTES:]
    return kept if checksum == hashlib.sha256(kept).digest() else None


def write_kept(path: Path, content: bytes) -> None:
    """Writes a file in one step. A folder that cannot be written to is left alone."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-")
        with os.fdopen(descriptor, "wb") as file:
            file.write(hashlib.sha256(content).digest() + content)
        Path(temporary).replace(path)
