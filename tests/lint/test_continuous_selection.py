"""A continuous build selects by command line what a macro expects it to run."""

from __future__ import annotations

import re

from api.builds.continuous import SELECTION
from api.settings import PROJECT_ROOT


def test_the_macro_names_what_the_scheduler_selects() -> None:
    macros = (PROJECT_ROOT / "macros" / "versioning" / "continue_failed_build.sql").read_text()
    (names,) = re.findall(r"node\.config\.materialized in \[(.+?)\]", macros)
    assert tuple(f"config.materialized:{name}" for name in re.findall(r"'(\w+)'", names)) == SELECTION
