"""Calls of a Neo4j server: connections, time-outs, and errors that may be shown to a user."""

import atexit
import logging
import os
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from neo4j import Driver, GraphDatabase, ManagedTransaction, Session, unit_of_work
from neo4j.exceptions import (
    ClientError,
    ConnectionPoolError,
    DatabaseError,
    DriverError,
    IncompleteCommit,
    Neo4jError,
    TransactionError,
)
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.exceptions import (
    GraphRefused,
    GraphStoreBusy,
    GraphStoreUnavailable,
    PipelineError,
)

Result = TypeVar("Result")

CONNECT_SECONDS = 5.0
# The server ends a transaction after this time.
TRANSACTION_SECONDS = 30.0
# The driver repeats a transaction this long; then the caller decides, who knows cancellations.
RETRY_SECONDS = 5.0
# Refused because of the account or the name of the database, not because of values.
SETTINGS_ARE_WRONG = ("Neo.ClientError.Security.", "Neo.ClientError.Database.")
# Errors after which a transaction is repeated, beside those that the driver repeats.
MAY_PASS = (ConnectionPoolError, DatabaseError, IncompleteCommit, TransactionError)
CONFLICT = "Neo.ClientError.Schema.ConstraintValidationFailed"
CONFLICTS = 10
ALREADY_EXISTS = "Neo.ClientError.Schema.EquivalentSchemaRuleAlreadyExists"

SCHEMA = (
    """
    CREATE CONSTRAINT ingestion_entity_once IF NOT EXISTS
    FOR (entity:Entity) REQUIRE (entity.document, entity.epoch, entity.key) IS UNIQUE
    """,
    """
    CREATE INDEX ingestion_entity_document IF NOT EXISTS
    FOR (entity:Entity) ON (entity.document)
    """,
)

logger = logging.getLogger("ingestion_progress.pipeline")


class Account(NamedTuple):
    """What a driver is made for. Connections do not survive a fork."""

    url: str
    user: str
    password: str
    process: int


def account() -> Account:
    return Account(conf.neo4j_url, conf.neo4j_user, conf.neo4j_password, os.getpid())


class Drivers:
    """One driver, with its pool of connections, for all threads of a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._driver: Driver | None = None
        self._account: Account | None = None
        self._prepared: set[str] = set()

    def get(self) -> Driver:
        with self._lock:
            if self._driver is None or self._account != account():
                self._close()
                self._driver, self._account = _connected(account()), account()
            return self._driver

    def prepare(self, session: Session) -> None:
        """Creates the constraint and the index, once in each process."""
        if conf.neo4j_database in self._prepared:
            return
        for statement in SCHEMA:
            try:
                session.run(statement).consume()
            except ClientError as error:
                if error.code != ALREADY_EXISTS:
                    raise
        self._prepared.add(conf.neo4j_database)

    def close(self) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        # The driver of another process is left open: closing it would end its connections.
        if self._driver is not None and self._account and self._account.process == os.getpid():
            self._driver.close()
        self._driver, self._account, self._prepared = None, None, set()


drivers = Drivers()
atexit.register(drivers.close)


def read(work: Callable[[ManagedTransaction], Result]) -> Result:
    """What `work` returns, which may be called several times. Raises the errors of GraphStore."""
    timed: Any = unit_of_work(timeout=TRANSACTION_SECONDS)(work)
    result: Result = _call(lambda session: session.execute_read(timed))
    return result


def write(work: Callable[[ManagedTransaction], Result]) -> Result:
    """The same for a transaction that writes."""
    timed: Any = unit_of_work(timeout=TRANSACTION_SECONDS)(work)

    def prepared(session: Session) -> Result:
        drivers.prepare(session)
        repeated = Retrying(
            retry=retry_if_exception(_is_conflict),
            stop=stop_after_attempt(CONFLICTS),
            wait=wait_random(0, 0.2),
            reraise=True,
        )
        result: Result = repeated(session.execute_write, timed)
        return result

    return _call(prepared)


def _is_conflict(error: BaseException) -> bool:
    """Has another transaction merged the same node at the same time?"""
    return isinstance(error, Neo4jError) and error.code == CONFLICT


def _connected(to: Account) -> Driver:
    # Its hints, for example that nothing has this label yet, would be warnings in logs of jobs, and
    # so would addresses of servers.
    driver_logger = logging.getLogger("neo4j")
    if driver_logger.level == logging.NOTSET:
        driver_logger.setLevel(logging.ERROR)
    return GraphDatabase.driver(
        to.url,
        auth=(to.user, to.password) if to.user else None,
        user_agent="django-ingestion-progress",
        connection_timeout=CONNECT_SECONDS,
        connection_write_timeout=TRANSACTION_SECONDS,
        connection_acquisition_timeout=2 * CONNECT_SECONDS,
        max_transaction_retry_time=RETRY_SECONDS,
        liveness_check_timeout=30.0,
    )


def _call(act: Callable[[Session], Result]) -> Result:
    try:
        with drivers.get().session(database=conf.neo4j_database or None) as session:
            return act(session)
    except (DriverError, Neo4jError) as error:
        translated = _translated(error)
        logger.warning("neo4j_failed", extra={"reason": str(translated)})
        raise translated from error


def _translated(error: DriverError | Neo4jError) -> PipelineError:
    if error.is_retryable() or isinstance(error, MAY_PASS) or _is_conflict(error):
        return GraphStoreBusy(
            StoredSentence(
                "Neo4j does not answer as expected. Does it run at the address in NEO4J_URL?"
            )
        )
    code = str(getattr(error, "code", "") or "")
    if code.startswith("Neo.ClientError.") and not code.startswith(SETTINGS_ARE_WRONG):
        return GraphRefused(
            StoredSentence("Neo4j refused what was extracted (%(code)s).", code=code)
        )
    if not code:
        return GraphStoreUnavailable(
            StoredSentence(
                "Neo4j refuses the connection. Are NEO4J_URL, NEO4J_USER, NEO4J_PASSWORD and "
                "NEO4J_DATABASE right?"
            )
        )
    return GraphStoreUnavailable(
        StoredSentence(
            "Neo4j refuses the connection (%(code)s). Are NEO4J_URL, NEO4J_USER, NEO4J_PASSWORD "
            "and NEO4J_DATABASE right?",
            code=code,
        )
    )
