"""REFERENCE.md of the Python SDK has the arguments and fields of the code."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

import mailmart_client

page = Path(sys.argv[1]).read_text()
operations = re.findall(r"^client\.(\w+)\.(\w+)\((.*)\) -> (\w+)$", page, re.MULTILINE)
assert len(operations) == int(sys.argv[2]), operations
for group, name, arguments, result in operations:
    operation = getattr(getattr(mailmart_client, f"{group.capitalize()}Api"), name)
    signature = inspect.signature(operation)
    named = [argument for argument in signature.parameters if argument != "self" and not argument.startswith("_")]
    assert named == re.findall(r"\w+", arguments), (name, named, arguments)
    assert result == getattr(signature.return_annotation, "__name__", str(signature.return_annotation)), (name, result)
models = re.findall(r"^### (\w+)\n\n\| field .*\n.*\n((?:\|.*\n)+)", page, re.MULTILINE)
assert len(models) > 40, models
for name, rows in models:
    model = getattr(mailmart_client, name)
    fields = set(re.findall(r"^\| `(\w+)`", rows, re.MULTILINE))
    # the others are also there, or taken by the constructor, without the prefix; `schema` is a method of pydantic's
    named_fields = {field if field == "var_schema" else field.removeprefix("var_") for field in model.model_fields}
    assert fields == named_fields - {"additional_properties"}, (name, fields)
