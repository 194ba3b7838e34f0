"""The app of the intake, made in each of its processes."""

from __future__ import annotations

from multiprocessing.util import Finalize

from api.observability.logs import configure_server_logs
from api.processes.parent_death import end_with_parent
from api.server.intake import IntakeApp
from api.settings import INTAKE, Settings


def create_intake_app() -> IntakeApp:
    """The app of this process, configured by the environment."""
    log = configure_server_logs()
    # if the server is killed, a worker that survives would keep its port
    end_with_parent()
    app = IntakeApp(Settings.from_environment().for_process(INTAKE).for_intake_address(), is_log_behind=lambda: log.is_behind)
    # a process of multiprocessing does not run the handlers of atexit
    Finalize(None, app.close, exitpriority=2)
    Finalize(None, log.close, exitpriority=1)
    return app
