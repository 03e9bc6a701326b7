"""A server of the protocol and the language of Neo4j, from a wheel with its own Java."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
from neo4j import GraphDatabase
from neo4j.exceptions import DriverError, Neo4jError

from ingestion_progress.pipeline.stores import neo4j_server
from tests.support.servers import free_port

USER, PASSWORD, DATABASE = "root", "a password of the tests", "graph"
# What the engine needs of a Java of today.
JAVA_OPTIONS = (
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-opens=java.base/java.nio.channels.spi=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent.atomic=ALL-UNNAMED",
    "--add-exports=java.management/sun.management=ALL-UNNAMED",
)
START_SECONDS = 30


@dataclass
class BoltServer:
    """An ArcadeDB on a local port, which a test may stop and start again."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"bolt://127.0.0.1:{self.port}"

    def start(self) -> None:
        wheel = Path(find_spec("arcadedb_embedded").origin).parent
        options = {
            "server.rootPath": self.folder,
            "server.rootPassword": PASSWORD,
            "server.defaultDatabases": f"{DATABASE}[]",
            "server.httpIncomingHost": "127.0.0.1",
            "server.httpIncomingPort": 0,
            "server.plugins": "Bolt:com.arcadedb.bolt.BoltProtocolPlugin",
            "bolt.host": "127.0.0.1",
            "bolt.port": self.port,
        }
        command = [
            str(wheel / "jre" / "bin" / "java"),
            *JAVA_OPTIONS,
            *(f"-Darcadedb.{name}={value}" for name, value in options.items()),
            "-cp",
            f"{wheel / 'jars'}/*",
            "com.arcadedb.server.ArcadeDBServer",
        ]
        with (self.folder / "output").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.run("RETURN 1")
            except (DriverError, Neo4jError):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self.folder / "output").read_text()[-2000:]) from None
                time.sleep(0.1)
            else:
                return

    def run(self, statement: str, **parameters: object) -> list[dict[str, object]]:
        with GraphDatabase.driver(
            self.url, auth=(USER, PASSWORD), connection_timeout=1, max_transaction_retry_time=0
        ) as driver:
            found = driver.execute_query(statement, parameters, database_=DATABASE)
            return [record.data() for record in found.records]

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None


@pytest.fixture(name="neo4j")
def empty_server(settings) -> Iterator[BoltServer]:
    """A server without content, which the settings name."""
    server = bolt_server()
    server.run("MATCH (n) DETACH DELETE n")
    settings.INGESTION_PROGRESS_NEO4J_URL = server.url
    settings.INGESTION_PROGRESS_NEO4J_USER = USER
    settings.INGESTION_PROGRESS_NEO4J_PASSWORD = PASSWORD
    settings.INGESTION_PROGRESS_NEO4J_DATABASE = DATABASE
    yield server
    neo4j_server.drivers.close()


@functools.cache
def bolt_server() -> BoltServer:
    """The server that tests share."""
    folder = Path(tempfile.mkdtemp(prefix="ingestion-progress-bolt-"))
    server = BoltServer(folder, free_port())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.stop)
    server.start()
    return server
