"""Where a command's settings are from: the environment; then .env; then the running installation; then the defaults.

They are put into the environment of the process, so that all code, and the processes that it starts, see the same ones.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from api.cli.env_file import Variable, read_env_file
from api.cli.running_settings import read_running_settings
from api.contract.suggestions import nearest
from api.dbt.profile import PROFILE_VARIABLES
from api.errors import SettingsError
from api.settings import ENV_FILE, PATHS, PREFIX, default_home, env_vars

# they begin an installation, or are a process of one that is configured by itself; or they read no installation
NOT_OF_THE_RUNNING = frozenset(("demo", "run", "serve", "intake", "worker", "scheduler", "bench"))
WITHOUT_SETTINGS = frozenset(("settings", "openapi", "sdk"))
# of boto3, which has no file of its own for all of them
OTHER_PREFIXES = ("AWS_",)


def load_settings(command: str, environ: MutableMapping[str, str] = os.environ) -> dict[str, str]:
    """Adds variables that are missing in the environment. A variable that is set, even to an empty text, is kept.

    Returns:
        For each variable that was added, the file and the line that it is from.

    Raises:
        SettingsError: a file cannot be read, has an error, or others could have written it.
    """
    origins: dict[str, str] = {}
    if command in WITHOUT_SETTINGS:
        return origins
    path = env_file_path(environ)
    if path is not None:
        _add(_variables(path, environ.get(ENV_FILE)), path, environ, origins)
    if command not in NOT_OF_THE_RUNNING:
        running = read_running_settings(Path(environ.get("MAILMART_HOME") or default_home()).absolute())
        if running is not None:
            _add(running.variables, running.path, environ, origins)
    return origins


def env_file_path(environ: Mapping[str, str]) -> Path | None:
    """The file that MAILMART_ENV_FILE names, or .env in the working directory; None if it is off."""
    name = environ.get(ENV_FILE) or ".env"
    if name.strip().lower() == "off":
        return None
    try:
        return Path(name).absolute()
    except FileNotFoundError:
        # the working directory was deleted
        return None


def origin_lines(message: str, origins: Mapping[str, str]) -> list[str]:
    """A line for each variable in an error message that is from a file."""
    names = dict.fromkeys(re.findall(r"\b[A-Z][A-Z_]+[A-Z]\b", message))
    return [f"{name} is set in {origins[name]}." for name in names if name in origins]


def _variables(path: Path, requested: str | None) -> dict[str, Variable]:
    """
    Raises:
        SettingsError: a file that was named is missing; the file has an error, or a name that we do not know.
    """
    if not requested and not _is_there(path):
        return {}
    try:
        variables = read_env_file(path)
    except FileNotFoundError:
        raise SettingsError(
            f"MAILMART_ENV_FILE is {requested!r}, and there is no {path}", hint="Name a file, or off for none."
        ) from None
    known = [name for name, _, _ in env_vars()]
    used = {}
    for name, variable in variables.items():
        if name.startswith(OTHER_PREFIXES) or name in known:
            used[name] = _checked(name, variable, path)
        elif name.upper().startswith(PREFIX) and name not in PROFILE_VARIABLES and not name.startswith("MAILMART_TEST_"):
            raise _unknown(name, variable, path, [*known, *PROFILE_VARIABLES])
    return used


def _is_there(path: Path) -> bool:
    """Whether there is a file, as far as we can see: runuser and sudo keep a working directory that the user cannot enter."""
    try:
        path.stat()
    except OSError:
        return False
    return True


def _checked(name: str, variable: Variable, path: Path) -> Variable:
    if variable.is_expanded:
        raise SettingsError(
            f"{path}, line {variable.line}: {name} has a $, and variables are not expanded here",
            hint="Write the value itself. In single quotes, $ has no special meaning.",
        )
    return variable


def _unknown(name: str, variable: Variable, path: Path, known: list[str]) -> SettingsError:
    where = f"{path}, line {variable.line}: "
    if name == ENV_FILE:
        return SettingsError(f"{where}{name} works in the environment only", hint="Remove the line.")
    # without the prefix, which makes any two names similar
    match = nearest(name[len(PREFIX) :], [each.removeprefix(PREFIX) for each in known])
    hint = f"Did you mean {PREFIX}{match}?" if match else "`mailmart settings` prints all settings."
    return SettingsError(f"{where}there is no setting {name}", hint=hint)


def _add(
    variables: Mapping[str, Variable], path: Path, environ: MutableMapping[str, str], origins: MutableMapping[str, str]
) -> None:
    for name, variable in variables.items():
        if name in environ:
            continue
        environ[name] = _absolute(name, variable.value, path.parent)
        origins[name] = f"{path}, line {variable.line}"


def _absolute(name: str, value: str, folder: Path) -> str:
    """A path in a file begins at the file's folder, whatever the working directory is."""
    is_path = name in PATHS and value and "-----" not in value
    return str(folder / value) if is_path else value
