"""The SDK generators and their options."""

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
    for file in sorted((FILES / name).iterdir()):
        (folder / file.name.removesuffix(".in")).write_text(Template(file.read_text()).substitute(version=version("mailmart")))


def _python(document: Path, folder: Path) -> None:
    _openapi_generator("python", document, folder, (PACKAGE, "docs"), {"packageName": PACKAGE})


def _typescript_fetch(document: Path, folder: Path) -> None:
    # with a name, the generator writes a folder src
    naming = {"npmName": "mailmart-client", "stringEnums": "true", "enumPropertyNaming": "UPPERCASE"}
    options = {**naming, "importFileExtension": ".js"}
    _openapi_generator("typescript-fetch", document, folder, ("src", "docs"), options)


def _openapi_generator(name: str, document: Path, folder: Path, parts: tuple[str, ...], options: dict[str, str]) -> None:
    """Runs openapi-generator, and moves only the given parts of its output into the folder."""
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "output"
        simplified = Path(scratch) / "openapi.json"
        simplified.write_bytes(_simplified(document))
        run(
            "openapi-generator-cli",
            "generate",
            *("-g", name, "-i", simplified, "-o", output),
            *("--additional-properties", ",".join(f"{key}={value}" for key, value in options.items())),
            *("--global-property", "apiTests=false,modelTests=false"),
            cwd=Path(scratch),
        )
        for part in parts:
            shutil.move(output / part, folder / part)


def _simplified(document: Path) -> bytes:
    """The document without the parts for which openapi-generator writes bad types.

    For "date or date-time" it writes a class that can hold neither: only "date" remains. For a constant true it writes an enum,
    for other constants and for patterns functions without types: the plain types remain.
    """
    simplified = orjson.loads(document.read_bytes())
    schemas = simplified["components"]["schemas"]
    for name, schema in schemas.items():
        if all("format" in part for part in schema.get("anyOf", [{}])):
            schemas[name] = schema["anyOf"][0]
        for described in schema.get("properties", {}).values():
            described.pop("const", None)
            described.pop("pattern", None)
    return orjson.dumps(simplified)


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
