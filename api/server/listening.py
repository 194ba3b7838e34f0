"""The address of a server, and how many connections its processes may have."""

from __future__ import annotations

import resource
import socket

from api.errors import ServerError
from api.settings import Settings

# a connection costs memory and a file descriptor, and no thread; the spare ones are for the database, Valkey and files
MAX_CONNECTIONS = 16_384
SPARE_DESCRIPTORS = 256
# connections that wait until a process accepts them
BACKLOG = 4096


def max_connections() -> int:
    """The connections that the process may have open, after raising the limit of file descriptors as far as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + SPARE_DESCRIPTORS
    soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(soft - SPARE_DESCRIPTORS, 16)


def check_address(settings: Settings, port_variable: str = "MAILMART_PORT") -> None:
    """Checks that the settings' address is free, before anything is started. An error names the setting `port_variable`.

    Raises:
        ServerError: it is not.
    """
    _bind(settings, port_variable).close()


def listen(settings: Settings, port_variable: str) -> socket.socket:
    """A socket that listens on the settings' address.

    Raises:
        ServerError: see `check_address`.
    """
    bound = _bind(settings, port_variable)
    bound.listen(BACKLOG)
    bound.setblocking(False)
    return bound


def _bind(settings: Settings, port_variable: str) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((settings.host, settings.port))
    except OSError as error:
        bound.close()
        raise ServerError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}",
            hint=f"Set {port_variable} (or --port) to another port, or stop the program that uses it.",
        ) from error
    return bound
