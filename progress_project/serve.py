"""`scripts/run` installs the requirements, then runs `python -m progress_project.serve`.

It migrates the database, then runs the web server and the ingestion worker until Ctrl-C.
"""

import asyncio
import contextlib
import errno
import gc
import io
import ipaddress
import os
import secrets
import socket
import sys

import django
from django.conf import settings
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError

from progress_project.environment import BASE_DIR, Environment, InvalidVariable
from progress_project.processes import Program, Supervisor


class CannotServe(Exception):
    """Why it cannot start, in a sentence for the terminal."""


def main() -> int:
    os.chdir(BASE_DIR)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "progress_project.settings")
    try:
        if not Environment()("DEBUG", str, default=""):
            os.environ["DEBUG"] = "true"
        django.setup()
        address = free_address(settings.HOST, settings.PORT)
        prepare()
        # Otherwise Python frees all loaded modules at exit, which delays Ctrl-C by 0.6 s.
        gc.freeze()
        return asyncio.run(_serve(address))
    except (CannotServe, InvalidVariable) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def free_address(host: str, port: int) -> str:
    """The IPv4 address to listen on. Raises CannotServe if the port cannot be opened."""
    try:
        address = str(socket.getaddrinfo(host, port, socket.AF_INET)[0][4][0])
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CannotServe(
                f"Port {port} on {host} is in use. Stop what listens there, or choose another "
                f"port: PORT={port + 1 if port < 65535 else 8000} scripts/run"
            ) from None
        if error.errno == errno.EACCES:
            raise CannotServe(
                f"Port {port} is for administrators; choose one above 1023: PORT=8000 scripts/run"
            ) from None
        raise CannotServe(f"HOST={host} is not an IPv4 address of this machine.") from None
    return address


def prepare() -> None:
    """Checks and migrates. On the first run, also queues the examples and creates an admin."""
    from django.contrib.auth import get_user_model
    from django.db import OperationalError, connections

    try:
        call_command("check", stdout=io.StringIO())
        for alias in settings.DATABASES:
            call_command("migrate", database=alias, verbosity=0)
    except SystemCheckError as error:
        raise CannotServe(str(error)) from None
    except OperationalError as error:
        reason = str(error).strip().partition("\n")[0]
        raise CannotServe(f"The database does not answer: {reason}") from None
    if problem := broker_problem():
        raise CannotServe(f"{problem} Start it, or set TASK_QUEUE=database.")
    if not settings.DEBUG:
        call_command("collectstatic", interactive=False, verbosity=0)
    users = get_user_model().objects
    if not users.filter(is_superuser=True).exists():
        _queue_examples()
        password = secrets.token_urlsafe(12)
        users.create_superuser("admin", password=password)
        say(f"\n  Log in as admin with the password {password} (it is not shown again).")
    connections.close_all()


def broker_problem() -> str:
    """Why uploads could not be queued; empty if they can."""
    from ingestion_progress.pipeline.checks import celery_backend

    backend = celery_backend()
    return backend.broker_problem() if backend else ""


def _queue_examples() -> None:
    say("First run: the example documents are being queued.")
    try:
        call_command("ingest", "--detach", "examples/documents")
    except CommandError as error:
        say(f"The example documents could not be queued: {error}")


async def _serve(address: str) -> int:
    python = sys.executable
    programs = [
        Program(
            "web",
            # -v 0: Daphne's access log shows the query string, which may hold a token.
            (python, "-m", "ingestion_progress.asgi.servers.daphne", "-v", "0",
             "-b", address, "-p", str(settings.PORT), "progress_project.asgi:application"),
            must_start=True,
        ),
        Program(
            "worker",
            (python, "manage.py", "ingestion_worker", "--skip-checks", "--grace", "1"),
            death_command=(python, "manage.py", "rescue_jobs", "--skip-checks", "--died"),
        ),
    ]  # fmt: skip
    env = os.environ | {"PYTHONUNBUFFERED": "1"}
    if sys.stdout.isatty():
        env["FORCE_COLOR"] = "1"
    return await Supervisor(programs, env).run(_greet(address, settings.PORT))


async def _greet(address: str, port: int) -> None:
    """Waits until the server listens."""
    writer = None
    while writer is None:
        await asyncio.sleep(0.05)
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(address, port)
    writer.close()
    say(greeting(address, port))


def greeting(address: str, port: int) -> str:
    """The URLs, and a warning if the settings require one."""
    from ingestion_progress.conf import conf

    is_local = ipaddress.ip_address(address).is_loopback
    site = f"http://{'localhost' if is_local else _network_address(address)}:{port}"
    text = f"""
  Documents  {site}/
  Admin      {site}/admin/
  API        {site}/api/v1/docs
"""
    if conf.is_public and not is_local:
        text += f"""
  Anyone who reaches {site} may see, start, cancel and retry jobs;
  PUBLIC=false asks for a login.
"""
    if settings.SECURE_SSL_REDIRECT:
        text += """
  It answers HTTPS only: put a proxy in front (docs/settings.md), or set HTTPS=false.
"""
    return f"{text}\n  Ctrl-C stops it.\n"


def say(text: str) -> None:
    with contextlib.suppress(OSError):  # the terminal or the pipe is closed
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def _network_address(address: str) -> str:
    """The address by which other machines reach a server that listens on all addresses."""
    if not ipaddress.ip_address(address).is_unspecified:
        return address
    with contextlib.suppress(OSError), socket.socket(type=socket.SOCK_DGRAM) as probe:
        # Sends nothing: the kernel only chooses the network interface with the default route.
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return socket.gethostname()


if __name__ == "__main__":
    sys.exit(main())
