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

from api.tools.sdk.documents_only import without_pictures
from api.tools.sdk.exceptions import raise_errors, without_errors
from api.tools.sdk.npm import npm_packages
from api.tools.sdk.plain_values import accept_plain_values
from api.tools.sdk.programs import run
from api.tools.sdk.reference import write_reference

FILES = Path(__file__).parent / "files"
PACKAGE = "mailmart_client"
# the hand-written files that two SDKs have
SHARED = {
    "python": "shared-python",
    "openapi-python-client": "shared-python",
    "typescript-fetch": "shared-typescript",
    "openapi-typescript": "shared-typescript",
}
# what a program imports of the hand-written files, by module
PYTHON_SHARED = {
    "failures": ("ApiError", "ConnectionFailed", "DownloadFailed", "ExportFailed", "ExportTimeout", "MailmartError"),
    "pages": ("pages",),
    "policy": ("Retries",),
}
PYTHON_LAYER = {**PYTHON_SHARED, "client": ("Client",)}
HTTPX_LAYER = {**PYTHON_SHARED, "session": ("Client", "connect", "pages_async", "wait_for_export", "wait_for_export_async")}
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
    read = without_pictures(orjson.loads(document.read_bytes()))
    with tempfile.TemporaryDirectory() as scratch:
        simplified = Path(scratch) / "openapi.json"
        simplified.write_bytes(orjson.dumps(read))
        GENERATORS[name].write(simplified, folder.absolute())
    # our own package files: those of the generators name a repository that does not exist
    for source in (FILES / SHARED[name], FILES / name):
        for file in sorted(path for path in source.rglob("*") if path.is_file() and path.suffix != ".pyc"):
            target = folder / file.relative_to(source)
            if file.suffix == ".in":
                target.with_suffix("").write_text(Template(file.read_text()).substitute(version=version("mailmart")))
            else:
                shutil.copy(file, target)
    write_reference(name, read, folder / "REFERENCE.md")
    if (folder / "tsconfig.json").exists():
        # an installed folder gets no development packages: npm could not compile it
        run(npm_packages() / ".bin" / "tsc", cwd=folder)


def _python(document: Path, folder: Path) -> None:
    simplified = _simplified(document)
    options = {"packageName": PACKAGE, "packageVersion": version("mailmart")}
    _openapi_generator("python", simplified, folder, (PACKAGE,), options)
    accept_plain_values(folder / PACKAGE, simplified)
    _export(folder / PACKAGE, PYTHON_LAYER)


def _export(package: Path, layer: dict[str, tuple[str, ...]]) -> None:
    """Makes names of the hand-written files importable from the package, also by `import *`."""
    with (package / "__init__.py").open("a") as file:
        for module, names in layer.items():
            file.writelines(f"from {PACKAGE}.{module} import {name} as {name}\n" for name in names)
        listed = ", ".join(f'"{name}"' for names in layer.values() for name in names)
        file.write(f"__all__ = [*__all__, {listed}]\n")


def _typescript_fetch(document: Path, folder: Path) -> None:
    simplified = _simplified(document)
    # a Date of a date is midnight UTC, which is the day before in America: a date remains the text "2026-11-19"
    _remove(simplified, "format", "date")
    # a Set for a list
    _remove(simplified, "uniqueItems", True)
    # with a name, the generator writes a folder src; without stringEnums, the type of an enum is its plain values
    options = {"npmName": "mailmart-client", "enumPropertyNaming": "UPPERCASE", "importFileExtension": ".js"}
    _openapi_generator("typescript-fetch", simplified, folder, ("src",), options)
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
            # both are allowed as a property's name, in both languages: without it, they are "_export" and "var_date"
            *("--name-mappings", "export=export,date=date"),
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
    with tempfile.TemporaryDirectory() as scratch:
        # the exceptions replace what it would return for an error
        successes = Path(scratch) / "openapi.json"
        successes.write_bytes(orjson.dumps(without_errors(orjson.loads(document.read_bytes()))))
        config = Path(scratch) / "config.yml"
        config.write_text("literal_enums: true\n")
        # not in the folder: the generator runs Ruff, and the rules of a project above it would change the code
        output = Path(scratch) / PACKAGE
        options = ("--meta", "none", "--output-path", output, "--config", config)
        run("openapi-python-client", "generate", "--path", successes, *options, cwd=Path(scratch))
        shutil.move(output, package)
    raise_errors(package)
    _export(package, HTTPX_LAYER)
    (package / "py.typed").touch()
    shutil.rmtree(package / ".ruff_cache", ignore_errors=True)


def _openapi_typescript(document: Path, folder: Path) -> None:
    program = npm_packages() / ".bin" / "openapi-typescript"
    # a property with a default is optional in a request
    options = ("--root-types", "--root-types-no-schema-prefix", "--default-non-nullable=false")
    (folder / "src").mkdir()
    run(program, document, *("--output", folder / "src" / "schema.ts"), *options, cwd=folder)


GENERATORS = {
    "python": Generator(("java", "openapi-generator-cli"), _python),
    "openapi-python-client": Generator(("openapi-python-client",), _openapi_python_client),
    "typescript-fetch": Generator(("java", "openapi-generator-cli", "node", "npm"), _typescript_fetch),
    "openapi-typescript": Generator(("node", "npm"), _openapi_typescript),
}
