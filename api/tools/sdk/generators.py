"""The SDK generators and their options."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Any

import orjson

from api.tools.sdk.npm import npm_packages
from api.tools.sdk.plain_values import accept_plain_values
from api.tools.sdk.programs import run

FILES = Path(__file__).parent / "files"
PACKAGE = "mailmart_client"
# what a program imports of the hand-written files
PYTHON_LAYER = """
from mailmart_client.client import Client as Client
from mailmart_client.errors import ApiError as ApiError
from mailmart_client.errors import ConnectionFailed as ConnectionFailed
from mailmart_client.errors import DownloadFailed as DownloadFailed
from mailmart_client.errors import ExportFailed as ExportFailed
from mailmart_client.errors import ExportTimeout as ExportTimeout
from mailmart_client.errors import MailmartError as MailmartError
from mailmart_client.pages import pages as pages
from mailmart_client.retries import Retries as Retries
"""
TYPESCRIPT_LAYER = "export * from './client.js';\n"


@dataclass(frozen=True)
class Generator:
    """A generator: the programs that it needs, and the function that writes the SDK of a document into a folder."""

    programs: tuple[str, ...]
    write: Callable[[Path, Path], None]


def generate(name: str, document: Path, folder: Path) -> None:
    """Writes the SDK `name` into `folder`, and deletes the folder's earlier content.

    Raises:
        ProgramFailed: the generator cannot read the document.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    GENERATORS[name].write(document.absolute(), folder.absolute())
    # our own package files: those of the generators name a repository that does not exist
    for file in sorted(path for path in (FILES / name).rglob("*") if path.is_file() and path.suffix != ".pyc"):
        target = folder / file.relative_to(FILES / name)
        if file.suffix == ".in":
            target.with_suffix("").write_text(Template(file.read_text()).substitute(version=version("mailmart")))
        else:
            shutil.copy(file, target)


def _python(document: Path, folder: Path) -> None:
    simplified = _simplified(document)
    options = {"packageName": PACKAGE, "packageVersion": version("mailmart")}
    _openapi_generator("python", simplified, folder, (PACKAGE, "docs"), options)
    accept_plain_values(folder / PACKAGE, simplified)
    with (folder / PACKAGE / "__init__.py").open("a") as file:
        file.write(PYTHON_LAYER)


def _typescript_fetch(document: Path, folder: Path) -> None:
    simplified = _simplified(document)
    # a Date of a date is midnight UTC, which is the day before in America: a date remains the text "2026-11-19"
    _remove(simplified, "format", "date")
    # a Set for a list
    _remove(simplified, "uniqueItems", True)
    # with a name, the generator writes a folder src; without stringEnums, the type of an enum is its plain values
    options = {"npmName": "mailmart-client", "enumPropertyNaming": "UPPERCASE", "importFileExtension": ".js"}
    _openapi_generator("typescript-fetch", simplified, folder, ("src", "docs"), options)
    with (folder / "src" / "index.ts").open("a") as file:
        file.write(TYPESCRIPT_LAYER)


def _openapi_generator(
    name: str, document: dict[str, Any], folder: Path, parts: tuple[str, ...], options: dict[str, str]
) -> None:
    """Runs openapi-generator, and moves only the given parts of its output into the folder."""
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "output"
        simplified = Path(scratch) / "openapi.json"
        simplified.write_bytes(orjson.dumps(document))
        run(
            "openapi-generator-cli",
            "generate",
            *("-g", name, "-i", simplified, "-o", output),
            *("--additional-properties", ",".join(f"{key}={value}" for key, value in options.items())),
            # "export" is allowed as a property's name, in both languages: without it, it is "_export"
            *("--name-mappings", "export=export"),
            *("--global-property", "apiTests=false,modelTests=false"),
            cwd=Path(scratch),
        )
        for part in parts:
            shutil.move(output / part, folder / part)


def _simplified(document: Path) -> dict[str, Any]:
    """The document without the parts for which openapi-generator writes bad types.

    For "date or date-time" it writes a class that can hold neither: only "date" remains. For a constant true it writes an enum,
    for other constants and for patterns functions without types, for a parameter with a default beside its reference `Any`:
    the plain types remain.
    """
    simplified: dict[str, Any] = orjson.loads(document.read_bytes())
    schemas = simplified["components"]["schemas"]
    for name, schema in schemas.items():
        if all("format" in part for part in schema.get("anyOf", [{}])):
            schemas[name] = schema["anyOf"][0]
        for described in schema.get("properties", {}).values():
            described.pop("const", None)
            described.pop("pattern", None)
    for methods in simplified["paths"].values():
        for operation in methods.values():
            for parameter in operation.get("parameters", []) if isinstance(operation, dict) else []:
                if "$ref" in parameter["schema"]:
                    parameter["schema"] = {"$ref": parameter["schema"]["$ref"]}
    return simplified


def _remove(part: Any, key: str, value: object) -> None:
    """Removes a key with this value everywhere in a part of the document. Properties of that name have a dict as their value."""
    if isinstance(part, list):
        for item in part:
            _remove(item, key, value)
    elif isinstance(part, dict):
        if part.get(key) == value:
            del part[key]
        for item in part.values():
            _remove(item, key, value)


def _openapi_python_client(document: Path, folder: Path) -> None:
    package = folder / PACKAGE
    run("openapi-python-client", "generate", *("--path", document, "--meta", "none", "--output-path", package), cwd=folder)
    (package / "py.typed").touch()
    shutil.rmtree(package / ".ruff_cache", ignore_errors=True)


def _openapi_typescript(document: Path, folder: Path) -> None:
    program = npm_packages() / ".bin" / "openapi-typescript"
    # a property with a default is optional in a request
    options = ("--root-types", "--root-types-no-schema-prefix", "--default-non-nullable=false")
    run(program, document, *("--output", folder / "schema.d.ts"), *options, cwd=folder)


GENERATORS = {
    "python": Generator(("java", "openapi-generator-cli"), _python),
    "openapi-python-client": Generator(("openapi-python-client",), _openapi_python_client),
    "typescript-fetch": Generator(("java", "openapi-generator-cli"), _typescript_fetch),
    "openapi-typescript": Generator(("node", "npm"), _openapi_typescript),
}
