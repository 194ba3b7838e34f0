"""The factory that granian calls in each worker process."""

from __future__ import annotations

from multiprocessing.util import Finalize

from api.intake.events.routes import MAX_BODY_BYTES, PATH
from api.observability.logs import configure_server_logs
from api.pages.embed import PATH as EMBED_PATH
from api.processes.parent_death import end_with_parent
from api.server.app import WsgiApp
from api.server.asgi import AsgiAdapter, CompleteResponse, LargeBodies, Unfinished
from api.server.asgi_types import AsgiApp, Scope
from api.server.granian import THREADS
from api.server.mcp_mount import McpMount
from api.server.unread_bodies import DiscardUnread
from api.settings import SERVE, Settings


def create_asgi_app() -> AsgiApp:
    """The app of this process, configured by the environment."""
    log = configure_server_logs()
    # if the server is killed, a worker that survives would keep its port
    end_with_parent()
    settings = Settings.from_environment().for_process(SERVE)
    app = WsgiApp(settings)
    # a process of multiprocessing, which granian starts, does not run the handlers of atexit
    Finalize(None, app.close, exitpriority=2)
    Finalize(None, log.close, exitpriority=1)

    async def respond_on_loop(scope: Scope, body: bytes) -> CompleteResponse | Unfinished | None:
        # a thread can wait until the log is written, the event loop cannot
        return None if log.is_behind else await app.respond_on_loop(scope, body)

    # not /readyz, which waits for the database
    api = AsgiAdapter(
        app,
        threads=THREADS,
        health_paths={"/healthz", f"{settings.public_path}/healthz"},
        token_paths={EMBED_PATH, f"{settings.public_path}{EMBED_PATH}"},
        large_bodies=LargeBodies(PATH, MAX_BODY_BYTES, app.workspace_of_large_body),
        on_loop=respond_on_loop,
    )
    return DiscardUnread(McpMount(api, app, settings.public_path))
