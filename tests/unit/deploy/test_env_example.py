"""deploy/.env.example has every setting, each with its default and a line that describes it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise

from api.settings import Settings
from tests.support.compose import DEPLOY, required_variables

LINES = (DEPLOY / ".env.example").read_text().splitlines()
ENTRY = re.compile(r"#?([A-Z_]+)=(.*)")
ENTRIES = {match[1]: match[2] for match in map(ENTRY.fullmatch, LINES) if match}


class Recorder(Mapping[str, str]):
    """An empty environment that records which variables are read."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def test_every_setting_is_there_and_no_other() -> None:
    environment = Recorder()
    Settings.from_environment(environment)
    assert len(environment.names) > 25
    assert set(ENTRIES) == environment.names | required_variables()


def test_the_values_are_the_defaults() -> None:
    defaults = Settings.from_environment({})
    assert {name for name, value in ENTRIES.items() if Settings.from_environment({name: value}) != defaults} == set()


def test_each_has_one_line_that_describes_it() -> None:
    for before, line in pairwise(LINES):
        if ENTRY.fullmatch(line):
            assert re.match(r"# (dbt|[A-Z`])", before), line
    assert max(map(len, LINES)) <= 130
