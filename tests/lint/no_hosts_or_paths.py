"""Finds addresses of package registries, and paths of this machine, in the committed files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from api.settings import PROJECT_ROOT

# one letter of each word is in brackets, so that the pattern does not match itself and this file needs no exception
REGISTRY = re.compile(r"index-ur[l]|find-link[s]|\"resolve[d]\": *\"http|registr[y] *[=+] *\"?http|://[^/ ]*/simpl[e]/")


def main() -> int:
    """Prints every line that has one, and returns 1 if there are any."""
    this_machine = re.compile(
        "|".join(re.escape(f"{path}/") for path in {str(PROJECT_ROOT.parent), str(Path.home())} if path != "/")
    )
    files = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True).stdout
    count = 0
    for name in filter(None, files.split("\0")):
        path = PROJECT_ROOT / name
        if not path.is_file():
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if this_machine.search(line) or REGISTRY.search(line):
                print(f"{name}:{number}: {line.strip()[:120]}")
                count += 1
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
