"""No address of a package registry and no path of the machine that it was written on is in any committed file."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from api.settings import PROJECT_ROOT

# a letter of each word in brackets: so that the pattern is none of what it looks for, and this file is looked at like any other
REGISTRY = re.compile(r"index-ur[l]|find-link[s]|\"resolve[d]\": *\"http|registr[y] *[=+] *\"?http|://[^/ ]*/simpl[e]/")


def main() -> int:
    """1 where there is one, and each is printed."""
    here = re.compile("|".join(re.escape(f"{path}/") for path in {str(PROJECT_ROOT.parent), str(Path.home())} if path != "/"))
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    found = 0
    for name in filter(None, listed.stdout.split("\0")):
        path = PROJECT_ROOT / name
        if not path.is_file():
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if here.search(line) or REGISTRY.search(line):
                print(f"{name}:{number}: {line.strip()[:120]}")
                found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
