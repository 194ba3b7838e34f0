"""The generators, and what each is told so that its SDK reads as if somebody had written it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from string import Template

import orjson

from api.tools.sdk.npm import npm_packages
from api.tools.sdk.programs import run

FILES = Path(__file__).parent / "files"
PACKAGE = "mailmart_client"


@dataclass(frozen=True)
class Generator:
    """A generator: the programs that it needs, and what writes its sources for a document into a folder."""

    programs: tuple[str, ...]
    write: Callable[[Path, Path], None]


def generate(name: str, document: Path, folder: Path) -> None:
    """Writes the SDK called `name` into `folder`, in place of what is there.

    Raises:
        ProgramFailed: the generator cannot read the document.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    GENERATORS[name].write(document.absolute(), folder.absolute())
    # the generators' own package files have places for a repository that there is not
    for file in sorted((FILES / name).iterdir()):
        (folder / file.name.removesuffix(".in")).write_text(Template(file.read_text()).substitute(version=version("mailmart")))


def _python(document: Path, folder: Path) -> None:
    _openapi_generator("python", document, folder, (PACKAGE, "docs"), {"packageName": PACKAGE})


def _typescript_fetch(document: Path, folder: Path) -> None:
    # without a name there is no folder src
    naming = {"npmName": "mailmart-client", "stringEnums": "true", "enumPropertyNaming": "UPPERCASE"}
    options = {**naming, "importFileExtension": ".js"}
    _openapi_generator("typescript-fetch", document, folder, ("src", "docs"), options)


def _openapi_generator(name: str, document: Path, folder: Path, parts: tuple[str, ...], options: dict[str, str]) -> None:
    """Takes the parts of what it makes that are about this API."""
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "made"
        simple = Path(scratch) / "openapi.json"
        simple.write_bytes(_simplified(document))
        run(
            "openapi-generator-cli",
            "generate",
            *("-g", name, "-i", simple, "-o", made),
            *("--additional-properties", ",".join(f"{key}={value}" for key, value in options.items())),
            *("--global-property", "apiTests=false,modelTests=false"),
            cwd=Path(scratch),
        )
        for part in parts:
            shutil.move(made / part, folder / part)


def _simplified(document: Path) -> bytes:
    """The document without what openapi-generator makes no good type of.

    Of a date or a date-time it would make a class that holds neither: dates alone remain. Of a constant true it would make an
    enum, and of other constants and of patterns functions without types: the plain types remain.
    """
    read = orjson.loads(document.read_bytes())
    schemas = read["components"]["schemas"]
    for name, schema in schemas.items():
        if all("format" in part for part in schema.get("anyOf", [{}])):
            schemas[name] = schema["anyOf"][0]
        for described in schema.get("properties", {}).values():
            described.pop("const", None)
            described.pop("pattern", None)
    return orjson.dumps(read)


def _openapi_python_client(document: Path, folder: Path) -> None:
    package = folder / PACKAGE
    run("openapi-python-client", "generate", *("--path", document, "--meta", "none", "--output-path", package), cwd=folder)
    (package / "py.typed").touch()
    shutil.rmtree(package / ".ruff_cache", ignore_errors=True)


def _openapi_typescript(document: Path, folder: Path) -> None:
    program = npm_packages() / ".bin" / "openapi-typescript"
    # what has a default need not be sent
    options = ("--root-types", "--root-types-no-schema-prefix", "--default-non-nullable=false")
    run(program, document, *("--output", folder / "schema.d.ts"), *options, cwd=folder)


GENERATORS = {
    "python": Generator(("java", "openapi-generator-cli"), _python),
    "openapi-python-client": Generator(("openapi-python-client",), _openapi_python_client),
    "typescript-fetch": Generator(("java", "openapi-generator-cli"), _typescript_fetch),
    "openapi-typescript": Generator(("node", "npm"), _openapi_typescript),
}
