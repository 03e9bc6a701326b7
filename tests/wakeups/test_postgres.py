"""A listener whose connection has died half-open."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from types import SimpleNamespace
from urllib.parse import urlsplit

import psycopg
import pytest

from ingestion_progress import wakeups
from ingestion_progress.wakeups import transports
from ingestion_progress.wakeups.transports import Notification, postgres
from tests.support.servers import postgresql


class Proxy:
    """In front of PostgreSQL; a blocked connection stays open and carries nothing."""

    def __init__(self, database_url: str) -> None:
        socket_dir, _, self.database = urlsplit(database_url).path.rpartition("/")
        self.host = "/" + socket_dir.strip("/")
        self.is_blocked = asyncio.Event()
        self.connections = 0

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        self.tasks: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _connect(self, reader, writer) -> None:
        self.connections += 1
        is_first = self.connections == 1
        there, back = await asyncio.open_unix_connection(f"{self.host}/.s.PGSQL.5432")
        for source, sink in ((reader, back), (there, writer)):
            self.tasks.add(asyncio.create_task(self._pump(source, sink, is_first)))

    async def _pump(self, source, sink, is_first) -> None:
        with contextlib.closing(sink):
            while data := await source.read(65536):
                if is_first and self.is_blocked.is_set():
                    continue
                sink.write(data)

    def notify(self, job_id: str) -> None:
        text = Notification(origin="another process", job_ids=(job_id,)).encoded()
        with psycopg.connect(
            host=self.host, user="postgres", dbname=self.database, autocommit=True
        ) as connection:
            connection.execute("SELECT pg_notify(%s, %s)", ["ingestion_progress", text])


async def test_transport_that_failed_is_closed_before_it_is_replaced(monkeypatch):
    class Broken:
        async def receive(self, deliver, ready) -> None:
            happened.append("failed")
            raise ConnectionError("reset by peer")

        async def close(self) -> None:
            happened.append("closed")
            raise ConnectionError("reset by peer")

    happened: list[str] = []
    monkeypatch.setattr(transports, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(wakeups, "new_transport", lambda name: Broken())
    task = asyncio.create_task(wakeups._receive("notify", lambda *_: None))
    async with asyncio.timeout(60):
        while len(happened) < 4:  # noqa: ASYNC110  (nothing says so)
            await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.wait({task})
    assert happened[:4] == ["failed", "closed"] * 2


async def test_connection_that_ends_while_it_is_listened_to_raises_its_error():
    ours, theirs = socket.socketpair()
    delivered: list[str] = []
    pending: list[str] = []

    class Messages:
        """Like psycopg's connection, which closes the socket when its peer has."""

        notify_handler = staticmethod(delivered.append)

        def consume_input(self) -> None:
            if not (data := ours.recv(100)):
                raise psycopg.OperationalError("the connection is closed")
            pending.extend(data.decode().split())

        def notifies(self) -> str | None:
            return pending.pop(0) if pending else None

    class Connection:
        pgconn = Messages()

        def fileno(self) -> int:
            return ours.fileno()

    listening = asyncio.create_task(postgres._handle_notifications(Connection(), 60))  # type: ignore[arg-type]
    theirs.send(b"a b ")
    async with asyncio.timeout(60):
        while len(delivered) < 2:  # noqa: ASYNC110  (nothing says so)
            await asyncio.sleep(0.001)
        theirs.close()
        with pytest.raises(psycopg.OperationalError):
            await listening
    assert delivered == ["a", "b"]
    assert not asyncio.get_running_loop().remove_reader(ours.fileno())
    ours.close()


async def test_listener_returns_after_its_time_to_check_the_connection():
    ours, theirs = socket.socketpair()

    class Connection:
        def fileno(self) -> int:
            return ours.fileno()

    async with asyncio.timeout(60):
        await postgres._handle_notifications(Connection(), 0.01)  # type: ignore[arg-type]
    assert not asyncio.get_running_loop().remove_reader(ours.fileno())
    ours.close()
    theirs.close()


def test_connection_has_the_parameters_of_the_database_and_limits(monkeypatch):
    class Wrapper:
        def get_connection_params(self) -> dict[str, object]:
            return {"dbname": "progress", "cursor_factory": object, "context": object()}

    monkeypatch.setattr(postgres, "connections", {"default": Wrapper()})
    assert postgres.connection_parameters() == {
        "dbname": "progress",
        "connect_timeout": 5,
        "application_name": "ingestion-progress-wakeups",
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
    }


def test_options_that_the_project_sets_for_its_database_come_before_the_limits(monkeypatch):
    own = {"connect_timeout": 2, "keepalives_idle": 60, "tcp_user_timeout": 5000}
    wrapper = SimpleNamespace(get_connection_params=lambda: own)
    monkeypatch.setattr(postgres, "connections", {"default": wrapper})
    parameters = postgres.connection_parameters()
    assert own.items() <= parameters.items()
    assert parameters["keepalives_count"] == 3


async def test_transport_notifies_all_who_listen_by_one_connection(monkeypatch):
    executed, closed = [], []

    class Connection:
        async def execute(self, query: str, values: list[str]) -> None:
            executed.append((query, values))

        async def close(self) -> None:
            closed.append(self)

    async def connect(**parameters: object) -> Connection:
        assert parameters["autocommit"]  # a notification is sent by its COMMIT
        return connections.pop()

    connections = [Connection()]
    monkeypatch.setattr(postgres, "connection_parameters", dict)
    monkeypatch.setattr(psycopg.AsyncConnection, "connect", connect)
    transport, sent = postgres.PostgresTransport(), Notification.about(["a"], ["a"])
    for _ in range(2):
        await transport.send(sent)
    assert executed == [("SELECT pg_notify(%s, %s)", ["ingestion_progress", sent.encoded()])] * 2
    await transport.close()
    await transport.close()
    assert len(closed) == 1


async def test_cancelled_listener_leaves_its_socket():
    ours, theirs = socket.socketpair()

    class Connection:
        def fileno(self) -> int:
            return ours.fileno()

    listening = asyncio.create_task(postgres._handle_notifications(Connection(), 60))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    listening.cancel()
    await asyncio.wait({listening})
    assert not asyncio.get_running_loop().remove_reader(ours.fileno())
    ours.close()
    theirs.close()


async def test_error_of_a_query_is_raised():
    class Connection:
        async def execute(self, query: str, values: object) -> None:
            raise ConnectionError(query)

    with pytest.raises(ConnectionError, match="SELECT 1"):
        await postgres._answer(Connection(), "SELECT 1")  # type: ignore[arg-type]


@pytest.fixture
async def proxy():
    proxy = Proxy(postgresql().create_database())
    await proxy.start()
    yield proxy
    await proxy.stop()


@pytest.fixture
def behind_proxy(proxy, monkeypatch):
    parameters = {
        "host": "127.0.0.1",
        "port": proxy.port,
        "user": "postgres",
        "dbname": proxy.database,
        "sslmode": "disable",
    }
    monkeypatch.setattr(postgres, "connection_parameters", lambda: parameters)
    monkeypatch.setattr(postgres, "CHECK_EVERY_SECONDS", 0.1)
    monkeypatch.setattr(postgres, "CHECK_SECONDS", 1.0)


@pytest.fixture
async def received(behind_proxy):
    """The ids that a listener behind the proxy has received."""
    received: set[str] = set()
    task = asyncio.create_task(wakeups._receive("notify", received.update))
    yield received
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def receives(received: set[str], proxy: Proxy, job_id: str) -> bool:
    deadline = time.monotonic() + 60
    while job_id not in received and time.monotonic() < deadline:
        await asyncio.to_thread(proxy.notify, job_id)
        await asyncio.sleep(0.05)
    return job_id in received


async def test_connection_that_died_half_open_is_replaced(proxy, received, caplog):
    assert await receives(received, proxy, "before")
    proxy.is_blocked.set()
    assert await receives(received, proxy, "after")
    assert proxy.connections >= 2
    assert [record.message for record in caplog.records] == ["wakeups_down", "wakeups_back"]


async def test_malformed_notification_is_ignored(proxy, received, caplog):
    assert await receives(received, proxy, "before")
    with psycopg.connect(
        host=proxy.host, user="postgres", dbname=proxy.database, autocommit=True
    ) as connection:
        connection.execute("NOTIFY ingestion_progress, '{not a notification'")
    assert await receives(received, proxy, "after")
    assert not caplog.records


async def test_idle_listener_lets_the_process_sleep(proxy, received, monkeypatch):
    assert await receives(received, proxy, "before")
    monkeypatch.setattr(postgres, "CHECK_EVERY_SECONDS", 60)
    await asyncio.sleep(0.3)
    loop = asyncio.get_running_loop()
    passes = 0
    select = loop._selector.select  # type: ignore[attr-defined]

    def counted(timeout: float | None) -> list[object]:
        nonlocal passes
        passes += 1
        return select(timeout)

    monkeypatch.setattr(loop._selector, "select", counted)  # type: ignore[attr-defined]
    await asyncio.sleep(0.8)

    assert passes <= 4
    assert await receives(received, proxy, "after")


@pytest.mark.usefixtures("behind_proxy")
async def test_cancelled_query_has_ended_before_its_connection_is_closed():
    connection = await psycopg.AsyncConnection.connect(**postgres.connection_parameters())
    query = asyncio.create_task(postgres._answer(connection, "SELECT pg_sleep(30)"))
    await asyncio.sleep(0.2)
    query.cancel()
    await asyncio.gather(query, return_exceptions=True)
    running = {task.get_coro().__qualname__ for task in asyncio.all_tasks()}
    assert "AsyncConnection.execute" not in running
    await connection.close()
