"""The scripts, from a shell as a user has it: what they do from nothing, and what they say."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from progress_project.processes import STOP_SECONDS
from tests.project.test_processes import until
from tests.support.api import JOBS
from tests.support.documents import EXAMPLES
from tests.support.live import ROOT
from tests.support.servers import free_port

pytestmark = pytest.mark.once

ENVIRONMENT = "set -eu; . scripts/environment.sh; "
COMMANDS = "sh rm cp cmp tr grep sed sort wc cat dirname id mkdir"


@pytest.fixture
def bin_folder(tmp_path) -> Path:
    """A PATH of its own, with the commands that the scripts may count on and no Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for command in COMMANDS.split():
        (folder / command).symlink_to(Path("/usr/bin") / command)
    return folder


@pytest.fixture
def shell(bin_folder):
    """Runs a shell script in the project's folder, with nothing from our environment."""

    def run(script: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(bin_folder / "sh"), "-c", script],
            cwd=ROOT,
            env={"PATH": str(bin_folder), "HOME": str(bin_folder)} | env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def add_python(folder: Path, name: str, script: str = "") -> None:
    """A command that is this Python, after a script that may end differently."""
    command = folder / name
    command.write_text(f'#!/bin/sh\n{script}\nexec "{sys.base_prefix}/bin/python3" "$@"\n')
    command.chmod(0o755)


@pytest.mark.parametrize(
    "script", ["run", "test", "check", "lock", "bench", "environment.sh", "components.sh"]
)
def test_scripts_are_posix_shell(script):
    subprocess.run(["/bin/sh", "-n", f"scripts/{script}"], cwd=ROOT, check=True)
    text = (ROOT / "scripts" / script).read_text()
    assert not re.search(r"\[\[|\blocal\b|\bfunction\b|<<<|\bsource\b", text)


def test_first_python_that_runs_and_is_new_enough_is_used(bin_folder, shell):
    add_python(
        bin_folder, "python3", 'case $1 in -c) exit 1;; --version) echo "Python 3.9.2";; esac'
    )
    add_python(bin_folder, "python3.13", "echo 'shim: not installed' >&2; exit 127")
    add_python(bin_folder, "python3.12")
    done = shell(f"{ENVIRONMENT} find_python")
    assert done.stdout.strip() == str(bin_folder / "python3.12")


def test_old_python_is_one_sentence(bin_folder, shell):
    add_python(bin_folder, "python3", 'case $1 in --version) echo "Python 3.9.2";; esac; exit 1')
    add_python(bin_folder, "python3", '[ "$1" = --version ] && echo "Python 3.9.2" && exit; exit 1')
    done = shell(f"{ENVIRONMENT} environment {bin_folder}/none '' requirements.txt")
    assert done.returncode == 1
    assert done.stderr == (
        "Python 3.11 or newer is needed, and here is Python 3.9.2: "
        "install one, or put it on the PATH.\n"
    )


def test_no_python_is_one_sentence(shell, bin_folder):
    done = shell(f"{ENVIRONMENT} environment {bin_folder}/none '' requirements.txt")
    assert done.returncode == 1
    assert "here is no python3 that works" in done.stderr
    assert done.stderr.count("\n") == 1


def test_missing_venv_module_is_one_sentence_and_no_folder_remains(bin_folder, shell, tmp_path):
    add_python(bin_folder, "python3", '[ "$2" = venv ] && { echo "No module named venv"; exit 1; }')
    done = shell(f"{ENVIRONMENT} environment {tmp_path}/env '' requirements.txt")
    assert done.returncode == 1
    assert "its venv module is missing or incomplete: install it (on Debian" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "env").exists()


def test_missing_ensurepip_is_no_obstacle(bin_folder, shell, tmp_path):
    add_python(
        bin_folder,
        "python3",
        '[ "$2" = venv ] && [ "$3" != --without-pip ] && { mkdir "$3" 2>/dev/null; exit 1; }',
    )
    done = shell(f"{ENVIRONMENT} make_environment {tmp_path}/env python3")
    assert done.returncode == 0, done.stderr
    subprocess.run([tmp_path / "env/bin/python", "-c", ""], check=True)


def test_missing_network_is_reported_and_the_next_start_tries_again(bin_folder, shell, tmp_path):
    add_python(bin_folder, "python3")
    lock = tmp_path / "lock.txt"
    lock.write_text("django==5.2.19 --hash=sha256:" + "0" * 64 + "\n")
    nowhere = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": f"http://127.0.0.1:{free_port()}/",
        "PIP_RETRIES": "0",
    }
    done = shell(f"{ENVIRONMENT} environment {tmp_path}/env '' {lock}", **nowhere)
    assert done.returncode == 1
    assert f"Installing {lock} failed, for the reason above." in done.stderr
    assert not list(tmp_path.glob("env/*.installed"))


def test_nothing_is_installed_twice(bin_folder, shell, tmp_path):
    add_python(bin_folder, "python3")
    lock = tmp_path / "lock.txt"
    lock.write_text("# nothing\n")
    script = f"{ENVIRONMENT} environment {tmp_path}/env '' {lock}"
    assert "Installing" in shell(script).stdout
    assert shell(script).stdout == ""
    lock.write_text("# something else\n")
    assert "Installing" in shell(script).stdout


def test_missing_components_are_named_at_every_run(shell, tmp_path):
    script = f"set -eu; cd {tmp_path}; . {ROOT}/scripts/components.sh; install_components"
    first, second = shell(script), shell(script)
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("Without chromium-headless-shell redis-server nginx-light curl ")
    assert "some tests are skipped, and fail under CI=true." in first.stdout
    assert second.stdout == first.stdout


@pytest.fixture(scope="module")
def second_start(tmp_path_factory) -> Path:
    """The data of a deployment that has an admin: its next start is not the first."""
    folder = tmp_path_factory.mktemp("deployment")
    env = os.environ | {
        "DJANGO_SETTINGS_MODULE": "progress_project.settings",
        "VAR_DIR": str(folder),
        "DJANGO_SUPERUSER_PASSWORD": "of the first start",
    }
    admin = ("createsuperuser", "--noinput", "--username=admin", "--email=")
    for command in (("migrate", "--verbosity=0"), admin):
        subprocess.run([sys.executable, "manage.py", *command], cwd=ROOT, env=env, check=True)
    return folder


@pytest.fixture
def empty_deployment(tmp_path) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path / "var", free_port())
    deployment.folder.mkdir()
    yield deployment
    deployment.stop(signal.SIGINT)


@pytest.fixture
def deployment(empty_deployment, second_start) -> Deployment:
    shutil.copytree(second_start, empty_deployment.folder, dirs_exist_ok=True)
    return empty_deployment


class Deployment:
    """What scripts/run starts, with data of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.url = f"http://localhost:{port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **env: str | None) -> str:
        """Everything that was said until it serves, or until it gave up."""
        ours = {
            "DJANGO_SETTINGS_MODULE": "progress_project.settings",
            "ENV_FILE": str(self.folder / ".env"),
            "VAR_DIR": str(self.folder),
            "PORT": str(self.port),
        }
        settings = {name: os.environ[name] for name in os.environ if name not in ("DEBUG", "HOST")}
        settings |= ours | env
        log = self.folder / "said.log"
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "progress_project.serve"],
                cwd=ROOT,
                env={name: value for name, value in settings.items() if value is not None},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        until(lambda: "Ctrl-C stops it." in log.read_text() or self.process.poll() is not None, 30)
        return log.read_text()

    def stop(self, number: signal.Signals) -> None:
        """Raises TimeoutExpired if it waits for open connections or programs without limit."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(timeout=4 * STOP_SECONDS)

    def jobs(self) -> dict[str, dict[str, Any]]:
        """Its list, by their ids."""
        answer = httpx.get(f"{self.url}{JOBS}", timeout=30).raise_for_status()
        return {job["job_id"]: job for job in answer.json()["items"]}

    def lets_in(self, password: str) -> bool:
        with httpx.Client(base_url=self.url, timeout=30) as client:
            client.get("/admin/login/")
            form = {"username": "admin", "password": password, "next": "/admin/"}
            form["csrfmiddlewaretoken"] = client.cookies["csrftoken"]
            client.post("/admin/login/", data=form)
            return client.get("/admin/").status_code == 200

    def stored(self) -> bytes:
        """All that it has written, but for what it said."""
        (self.folder / "said.log").unlink()
        return b"".join(path.read_bytes() for path in self.folder.rglob("*") if path.is_file())


def test_first_start_makes_an_admin_and_ingests_examples_and_the_second_keeps_both(
    empty_deployment,
):
    deployment = empty_deployment
    said = deployment.start()
    password = re.search(r"Log in as admin with the password (\S+) ", said)[1]
    assert f"{deployment.url}/admin/" in said
    assert deployment.lets_in(password)
    until(lambda: statuses(deployment)["README.md"] == "succeeded", 60)
    jobs = deployment.jobs()
    assert sorted(statuses(deployment)) == sorted(
        path.name for path in EXAMPLES.iterdir() if path.suffix
    )
    deployment.stop(signal.SIGINT)
    assert password.encode() not in deployment.stored()

    assert "password" not in deployment.start()
    assert deployment.lets_in(password)
    assert deployment.jobs().keys() == jobs.keys()
    assert statuses(deployment)["README.md"] == "succeeded"


def statuses(deployment: Deployment) -> dict[str, str]:
    return {job["document_name"]: job["status"] for job in deployment.jobs().values()}


def test_stopping_ends_open_connections_and_all_processes(deployment):
    deployment.start()
    family = psutil.Process(deployment.process.pid).children(recursive=True)
    assert len(family) >= 2
    with socket.create_connection(("127.0.0.1", deployment.port)) as stream:
        stream.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert stream.recv(100)
        deployment.stop(signal.SIGINT)
    assert deployment.process.returncode == 0
    assert not psutil.wait_procs(family, timeout=1)[1]
    with pytest.raises(httpx.ConnectError):
        httpx.get(deployment.url)


def test_website_stays_when_the_worker_dies_twice_within_seconds(deployment):
    deployment.start()
    supervisor = psutil.Process(deployment.process.pid)

    def is_worker(child: psutil.Process) -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            return "ingestion_worker" in child.cmdline()
        return False

    def workers() -> list[psutil.Process]:
        return [child for child in supervisor.children() if is_worker(child)]

    for _ in range(2):
        until(workers, 10)
        workers()[0].kill()
        until(lambda: not workers(), 10)
    until(workers, 10)
    assert httpx.get(deployment.url, timeout=30).status_code == 200
    assert deployment.process.poll() is None


def test_unknown_name_in_the_env_file_is_reported_at_the_start(deployment):
    (deployment.folder / ".env").write_text("THROTLE_SECONDS=3\n")
    said = deployment.start()
    assert f"{deployment.folder}/.env: THROTLE_SECONDS is unknown." in said
    assert "HINT: Did you mean THROTTLE_SECONDS?" in said


def test_port_in_use_is_one_sentence_before_anything_is_done(empty_deployment):
    deployment = empty_deployment
    with socket.create_server(("127.0.0.1", deployment.port)):
        said = deployment.start()
    assert deployment.process.wait(timeout=20) == 1
    assert said == (
        f"Port {deployment.port} on 127.0.0.1 is in use. Stop what listens there, or choose "
        f"another port: PORT={deployment.port + 1} scripts/run\n"
    )
    assert not list(deployment.folder.glob("*.sqlite3"))


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        ({"HOST": "203.0.113.7"}, "HOST=203.0.113.7 is not an IPv4 address of this machine.\n"),
        (
            {"PORT": "http"},
            "PORT (from the environment or .env) must be a whole number, not 'http'.\n",
        ),
    ],
)
def test_impossible_address_is_one_sentence(empty_deployment, env, sentence):
    deployment = empty_deployment
    assert deployment.start(**env) == sentence
    assert deployment.process.wait(timeout=20) == 1


def test_invalid_interval_is_reported_before_anything_starts(empty_deployment):
    deployment = empty_deployment
    said = deployment.start(KEEPALIVE_SECONDS="-1")
    assert deployment.process.wait(timeout=20) == 1
    assert "INGESTION_PROGRESS_KEEPALIVE_SECONDS must be a number above 0." in said
    assert "Traceback" not in said


def test_database_that_does_not_answer_is_one_sentence(empty_deployment):
    deployment = empty_deployment
    said = deployment.start(DATABASE_URL=f"postgres://nobody@127.0.0.1:{free_port()}/none")
    assert deployment.process.wait(timeout=20) == 1
    assert said.startswith("The database does not answer: ")
    assert "Traceback" not in said


def test_broker_that_does_not_answer_is_one_sentence(empty_deployment):
    deployment = empty_deployment
    broker = f"redis://:secret@127.0.0.1:{free_port()}/0"
    said = deployment.start(TASK_QUEUE="celery", BROKER_URL=broker)
    assert deployment.process.wait(timeout=20) == 1
    (line,) = (line for line in said.splitlines() if "broker" in line)
    assert line.startswith("The broker redis://:**@127.0.0.1:")
    assert line.endswith("Start it, or set TASK_QUEUE=database.")
    assert "secret" not in said


def test_celery_without_a_broker_is_one_sentence(empty_deployment):
    said = empty_deployment.start(TASK_QUEUE="celery")
    assert empty_deployment.process.wait(timeout=20) == 1
    assert said.startswith("BROKER_URL (from the environment or .env) must be the URL of a Redis")


def test_env_file_chooses_the_port_and_production(deployment):
    (deployment.folder / ".env").write_text(f"PORT={deployment.port}\nDEBUG=false\nHTTPS=false\n")
    said = deployment.start(PORT=None)
    assert f"{deployment.url}/" in said
    login = httpx.get(f"{deployment.url}/admin/login/", timeout=30)
    hashed = re.search(r'href="(/static/admin/css/base\.\w+\.css)"', login.text)[1]
    assert httpx.get(f"{deployment.url}{hashed}").status_code == 200


def test_serving_other_machines_prints_a_warning(deployment):
    said = deployment.start(HOST="0.0.0.0")
    assert "Anyone who reaches " in said
    answer = httpx.get(
        f"http://127.0.0.1:{deployment.port}/", headers={"Host": "192.168.1.7"}, timeout=30
    )
    assert answer.status_code == 200
