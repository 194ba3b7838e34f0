"""Methods that are generated when they are called read and write what mashumaro's own do."""

from __future__ import annotations

import subprocess
import sys

from api.settings import PROJECT_ROOT

CLASSES = """
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Optional

from mashumaro.config import ADD_DIALECT_SUPPORT, TO_DICT_ADD_OMIT_NONE_FLAG, BaseConfig
from mashumaro.core.meta.code.builder import CodeBuilder
from mashumaro.dialect import Dialect
from mashumaro.mixins.msgpack import DataClassMessagePackMixin

from api.dbt.lean_serialization import generate_methods_when_they_are_called


class Dates(Dialect):
    serialization_strategy = {datetime: {"serialize": lambda moment: moment.year}}


def classes(lazy: bool) -> Any:
    @dataclass
    class Column(DataClassMessagePackMixin):
        name: str
        built_at: Optional[datetime] = None

        class Config(BaseConfig):
            lazy_compilation = lazy
            code_generation_options = [TO_DICT_ADD_OMIT_NONE_FLAG]

    @dataclass
    class Measure(Column):
        names: list[str] = field(default_factory=list)

        def __post_serialize__(self, d: dict[str, Any]) -> dict[str, Any]:
            return {**d, "of": type(self).__name__}

    @dataclass
    class Model(DataClassMessagePackMixin):
        columns: dict[str, Column]
        measure: Measure

        class Config(BaseConfig):
            lazy_compilation = lazy

    @dataclass
    class Dialectal(DataClassMessagePackMixin):
        built_at: datetime

        class Config(BaseConfig):
            code_generation_options = [ADD_DIALECT_SUPPORT]

    return Column, Measure, Model, Dialectal


def results(Column: Any, Measure: Any, Model: Any, Dialectal: Any) -> list[Any]:
    moment = datetime(2026, 1, 2, tzinfo=timezone.utc)
    model = Model({"a": Column("a", moment)}, Measure("b", names=["c"]))
    written = model.to_dict()
    found = [written, Model.from_dict(written).to_msgpack(), Model.from_msgpack(model.to_msgpack()).to_dict()]
    found += [Column("a").to_dict(omit_none=True), Measure("b").to_dict(omit_none=True), Measure("b").to_msgpack()]
    found += [Dialectal(moment).to_dict(), Dialectal(moment).to_dict(dialect=Dates)]
    for wrong in ({"name": "a", "built_at": "soon"}, {}, {"name": None}):
        try:
            found.append(repr(Measure.from_dict(wrong)))
        except Exception as error:
            found.append(f"{type(error).__name__}: {error}")
    return found


plain = results(*classes(False))
assert results(*classes(True)) == plain
generated = []
generate = CodeBuilder.compile
CodeBuilder.compile = lambda builder: generated.append(builder.cls.__name__) or generate(builder)
generate_methods_when_they_are_called()
for lazy in (False, True):
    generated.clear()
    made = classes(lazy)
    assert set(generated) == {"Dialectal"}, generated
    assert results(*made) == plain, (results(*made), plain)
    assert {"Column", "Measure", "Model"} <= set(generated), generated
print(plain)
"""


def test_generated_when_called_they_do_the_same() -> None:
    """Nested, inherited and hooked, with options and dialects, and for what cannot be read."""
    done = subprocess.run([sys.executable, "-c", CLASSES], capture_output=True, text=True, check=False, cwd=PROJECT_ROOT)
    assert done.returncode == 0, done.stderr
    assert "InvalidFieldValue" in done.stdout
    assert "MissingField" in done.stdout
    assert "'of': 'Measure'" in done.stdout
