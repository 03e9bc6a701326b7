"""Limits of open streams and the repeated permission check, without a server."""

from __future__ import annotations

import asyncio
import time

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from django.db import OperationalError, connections

from ingestion_progress.auth import permissions, revocations, tokens, users
from ingestion_progress.auth.addresses import network_of
from ingestion_progress.feed import Selection, Subscription
from ingestion_progress.streams import limits as limits_module
from ingestion_progress.streams import visibility
from ingestion_progress.streams.limits import ABANDONED_AFTER_SECONDS, ConnectionLimits
from tests.support import rules


@pytest.fixture
async def limits(settings):
    settings.INGESTION_PROGRESS_PUBLIC = False
    limits = ConnectionLimits()
    yield limits
    for connection in list(limits._connections):
        limits.release(connection)
    assert not limits._connections
    assert limits._counts == {}
    await asyncio.sleep(0)


@pytest.fixture
def admit(limits, rf):
    """Admits a stream with a subscription that is read."""

    def admit(user_id="", address="192.0.2.1", expires_at=None, request=None):
        request = request or rf.get("/", REMOTE_ADDR=address)
        grant = permissions.Grant(user_id=user_id, expires_at=expires_at)
        connection = limits.admit(request, ["job"], grant)
        if connection is not None:
            connection.subscription = Subscription(Selection.one("job"), asyncio.get_running_loop())
            connection.subscription.open()
        return connection

    return admit


async def closing_message(connection) -> bytes:
    """The rest of the stream, up to its end."""
    async with asyncio.timeout(60):
        return b"".join([part async for part in connection.subscription])


class TestLimits:
    async def test_streams_are_limited_for_each_user(self, limits, admit, settings):
        settings.INGESTION_PROGRESS_MAX_STREAMS_PER_USER = 2
        first = admit("1")
        assert admit("1")
        assert admit("1") is None
        assert admit("2")
        assert all(admit("") for _ in range(3))  # without a user
        limits.release(first)
        limits.release(first)
        assert admit("1")
        assert admit("1") is None

    async def test_streams_are_limited_for_each_address(self, admit, settings):
        settings.INGESTION_PROGRESS_MAX_STREAMS_PER_ADDRESS = 1
        assert admit(address="192.0.2.1")
        assert admit("1", address="192.0.2.1") is None
        assert admit(address="192.0.2.2")
        assert admit(address="2001:db8::1")
        assert admit(address="2001:db8::2") is None
        assert admit(address="2001:db8:0:1::1")

    async def test_all_streams_together_are_limited(self, admit, settings):
        settings.INGESTION_PROGRESS_MAX_STREAMS = 2
        assert admit("1")
        assert admit("2")
        assert admit("3") is None

    async def test_zero_means_no_limit(self, admit, settings):
        for name in ("", "_PER_USER", "_PER_ADDRESS"):
            setattr(settings, f"INGESTION_PROGRESS_MAX_STREAMS{name}", 0)
        assert all(admit("1") for _ in range(1000))

    async def test_connection_without_a_reader_is_released(self, limits, admit, rf):
        assert limits.admit(rf.get("/"), ["job"], permissions.Grant())
        taken = admit()
        limits.tick(time.time(), time.monotonic() + ABANDONED_AFTER_SECONDS + 1)
        assert len(limits._connections) == 1
        assert taken in limits._connections

    async def test_connection_that_is_not_read_is_released_after_35_seconds(self, limits, admit):
        connection = admit()
        connection.subscription = None
        connection.opened_at = 1000.0  # exact sums
        limits.tick(0, connection.opened_at + ABANDONED_AFTER_SECONDS)
        assert len(limits._connections) == 1
        limits.tick(0, connection.opened_at + 35.1)
        assert len(limits._connections) == 0

    async def test_connection_has_what_is_checked_later(self, admit, rf, settings):
        settings.INGESTION_PROGRESS_MAX_STREAMS_PER_ADDRESS = 5
        request = rf.get("/", REMOTE_ADDR="192.0.2.1")
        closed = admit("7", expires_at=99.0, request=request)
        settings.INGESTION_PROGRESS_PUBLIC = True

        assert (closed.job_ids, closed.request, closed.expires_at) == (["job"], request, 99.0)
        assert closed.counted_for == ("address:192.0.2.1", "user:7")
        assert admit("7").request is None  # nothing to check

    async def test_limits_that_are_off_are_not_counted(self, admit, settings):
        assert admit("7").counted_for == ("user:7",)
        settings.INGESTION_PROGRESS_MAX_STREAMS_PER_USER = 0
        assert admit("7").counted_for == ()

    async def test_checks_stop_with_the_last_stream(self, limits, admit):
        first, second = admit(), admit()
        task = limits._task
        limits.release(first)
        assert limits._task is task
        limits.release(second)
        await asyncio.sleep(0)

        assert limits._task is None
        assert task.cancelled()

    def test_streams_of_an_event_loop_that_has_ended_do_not_count(self, rf, settings):
        settings.INGESTION_PROGRESS_MAX_STREAMS = 1
        settings.INGESTION_PROGRESS_MAX_STREAMS_PER_ADDRESS = 1
        limits = ConnectionLimits()

        async def admit() -> bool:
            return limits.admit(rf.get("/"), ["job"], permissions.Grant()) is not None

        assert [asyncio.run(admit()), asyncio.run(admit())] == [True, True]
        assert len(limits._connections) == 1

    @pytest.mark.parametrize("address", ["", "unix:", "192.0.2.1"])
    def test_other_addresses_are_their_own_network(self, address):
        assert network_of(address) == address

    def test_ipv4_mapped_address_is_the_ipv4_address(self):
        assert network_of("::ffff:192.0.2.1") == "192.0.2.1"


class TestExpiry:
    async def test_stream_ends_when_its_token_expires(self, limits, admit):
        now = time.time()
        soon, later = admit(expires_at=now + 5), admit(expires_at=now + 50)

        assert limits.tick(now + 4.5, 0) == pytest.approx(0.5)
        limits.tick(now + 5, 0)

        assert b'"code":"token_expired"' in await closing_message(soon)
        assert later.subscription.output.frames_sent == 0

    async def test_next_check_is_due_in_a_second_or_when_a_token_expires(self, limits, admit):
        assert limits.tick(100.0, 0) == 1.0
        for expires_at in (100.7, 100.2, 100.5, 300.0):
            admit(expires_at=expires_at)

        assert limits.tick(100.0, 0) == pytest.approx(0.2)

    async def test_nothing_follows_the_end(self, limits, admit, make_frame):
        connection = admit(expires_at=1)
        connection.subscription.put("job", make_frame(b"unsent"))
        limits.tick(2, 0)
        connection.subscription.put("job", make_frame(b"late"))

        message = await closing_message(connection)
        assert b"token_expired" in message
        assert b"unsent" not in message
        assert b"late" not in message


@pytest.fixture
def make_frame():
    from ingestion_progress.wire.frames import Frame

    return lambda body: Frame(body=body, cursor="", percent=0.0, is_final=False)


@pytest.mark.django_db(transaction=True)
class TestRecheck:
    @pytest.fixture(autouse=True)
    def _often(self, settings):
        settings.INGESTION_PROGRESS_PUBLIC = False
        settings.INGESTION_PROGRESS_RECHECK_SECONDS = 0.02

    @pytest.fixture(autouse=True)
    def _ticking(self, monkeypatch):
        monkeypatch.setattr("ingestion_progress.streams.limits.TICK_SECONDS", 0.02)
        monkeypatch.setattr("ingestion_progress.streams.limits.RETRY_RECHECK_SECONDS", 0.02)

    @pytest.fixture
    async def watching(self, admit, rf):
        """A viewer with the permission, whose stream is open."""
        user = await User.objects.acreate_user("ada")
        await user.user_permissions.aadd(await Permission.objects.aget(codename="view_job"))
        request = rf.get("/")
        request.user = user
        assert await sync_to_async(permissions.may_view)(request, "job")
        return user, admit(str(user.pk), request=request)

    async def ends(self, connection) -> bool:
        await asyncio.sleep(0.3)
        return connection.subscription.output.frames_sent > 0 or bool(
            connection.subscription._unsent
        )

    async def test_permitted_viewer_stays_connected(self, watching):
        assert not await self.ends(watching[1])

    @pytest.mark.parametrize(
        "change",
        [
            lambda user: User.objects.filter(pk=user.pk).update(is_active=False),
            lambda user: user.user_permissions.clear(),
            lambda user: User.objects.filter(pk=user.pk).delete(),
        ],
        ids=["disabled", "without the permission", "deleted"],
    )
    async def test_viewer_without_permission_gets_forbidden(self, watching, change):
        user, connection = watching
        await sync_to_async(change)(user)

        assert b'"code":"forbidden"' in await closing_message(connection)

    async def test_stream_ends_when_the_issuer_of_its_token_is_disabled(self, watching, admit, rf):
        user, _ = watching
        token, _ = tokens.issue(["job"], issuer_id=str(user.pk))
        connection = admit(str(user.pk), request=rf.get("/", {"token": token}))
        assert not await self.ends(connection)
        await User.objects.filter(pk=user.pk).aupdate(is_active=False)

        assert b'"code":"forbidden"' in await closing_message(connection)

    async def test_stream_ends_when_its_token_is_revoked(self, admit, rf):
        text, token = tokens.issue(["job"])
        revoked = admit(request=rf.get("/", {"token": text}))
        other = admit(request=rf.get("/", {"token": tokens.issue(["job"])[0]}))
        assert not await self.ends(revoked)
        await sync_to_async(revocations.revoke)(token.id)

        assert b'"code":"forbidden"' in await closing_message(revoked)
        assert not await self.ends(other)

    async def test_rule_of_the_project_is_checked_again(self, admit, rf, settings):
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.support.rules.asked_in_person"
        request = rf.get("/", headers={"X-Job": "job"})
        request.user = AnonymousUser()
        connection = admit(request=request)
        assert not await self.ends(connection)
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.support.rules.own_jobs_only"

        assert b'"code":"forbidden"' in await closing_message(connection)

    @pytest.mark.parametrize("by_token", [False, True], ids=["session", "token"])
    async def test_deactivated_user_is_refused_even_if_the_rule_permits(
        self, admit, rf, settings, by_token
    ):
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.support.rules.asked_in_person"
        user = await User.objects.acreate_user("ada")
        token, _ = tokens.issue(["job"], issuer_id=str(user.pk))
        request = rf.get("/", {"token": token} if by_token else {}, headers={"X-Job": "job"})
        request.user = AnonymousUser() if by_token else user
        connection = admit(str(user.pk), request=request)
        assert not await self.ends(connection)
        await User.objects.filter(pk=user.pk).aupdate(is_active=False)

        assert b'"code":"forbidden"' in await closing_message(connection)

    async def test_database_error_in_the_rule_of_the_project_ends_no_stream(
        self, admit, rf, settings, caplog
    ):
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.support.rules.without_database"
        request = rf.get("/")
        request.user = AnonymousUser()
        connection = admit(request=request)
        assert not await self.ends(connection)
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.support.rules.own_jobs_only"

        assert b'"code":"forbidden"' in await closing_message(connection)
        assert caplog.text.count("access_recheck_failed") == 1

    async def test_failed_recheck_is_repeated_long_before_the_next_one_is_due(
        self, limits, admit, rf, settings, caplog
    ):
        settings.INGESTION_PROGRESS_RECHECK_SECONDS = 600
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.support.rules.without_database"
        request = rf.get("/")
        request.user = AnonymousUser()
        connection = admit(request=request)
        limits.tick(time.time(), time.monotonic() + 601)
        async with asyncio.timeout(60):
            while "access_recheck_failed" not in caplog.text:  # noqa: ASYNC110  (nothing says so)
                await asyncio.sleep(0.01)
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.support.rules.own_jobs_only"

        assert b'"code":"forbidden"' in await closing_message(connection)

    async def test_rule_that_hangs_is_given_up_and_asked_again(
        self, limits, admit, rf, settings, monkeypatch
    ):
        monkeypatch.setattr(limits_module, "RECHECK_TIMEOUT_SECONDS", 0.01)
        settings.INGESTION_PROGRESS_RECHECK_SECONDS = 600
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.support.rules.when_released"
        rules.released.clear()
        connection = admit(request=rf.get("/"))
        limits.tick(time.time(), time.monotonic() + 601)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(limits._recheck), 10)
        await asyncio.sleep(0)
        rules.released.set()

        assert limits._backoff.is_failing
        assert limits._recheck is None
        assert not connection.subscription.is_ending

    async def test_recheck_is_due_after_its_interval_and_one_runs_at_a_time(
        self, limits, admit, rf, settings
    ):
        settings.INGESTION_PROGRESS_RECHECK_SECONDS = 600
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.support.rules.asked_in_person"
        before = time.monotonic()
        admit(request=rf.get("/", headers={"X-Job": "job"}))
        limits.tick(0, before + 599)
        assert limits._recheck is None
        limits.tick(0, before + 605)
        running = limits._recheck
        limits.tick(0, before + 1800)

        assert limits._recheck is running
        assert await running == ([""], [])
        await asyncio.sleep(0)
        limits.tick(0, before + 605 + 599)
        assert limits._recheck is None
        limits.tick(0, before + 605 + 600)
        assert limits._recheck is not None
        await limits._recheck

    async def test_streams_that_everybody_may_watch_are_not_checked(self, limits, admit, settings):
        settings.INGESTION_PROGRESS_PUBLIC = True
        admit()
        limits.tick(0, time.monotonic() + 601)

        assert limits._recheck is None

    @pytest.mark.parametrize("refused", ["a", "b", "c"])
    async def test_each_stream_gets_the_answer_about_its_own_jobs(
        self, limits, rf, settings, monkeypatch, refused
    ):
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.streams.test_limits.may_view_others"
        monkeypatch.setitem(REFUSED, "job_id", refused)
        settings.INGESTION_PROGRESS_RECHECK_SECONDS = 600
        connections = []
        for job_ids in (["a", "b"], ["c"]):
            connection = limits.admit(rf.get("/"), job_ids, permissions.Grant())
            connection.subscription = Subscription(
                Selection.named(job_ids), asyncio.get_running_loop()
            )
            connection.subscription.open()
            connections.append(connection)
        limits.tick(0, time.monotonic() + 601)
        await limits._recheck
        await asyncio.sleep(0)

        assert [each.subscription.is_ending for each in connections] == [
            refused in each.job_ids for each in connections
        ]

    async def test_rule_for_jobs_is_asked_for_streams_that_stay_open_only(
        self, limits, admit, rf, settings, monkeypatch
    ):
        asked = []
        settings.INGESTION_PROGRESS_VISIBLE_JOBS = "ingestion_progress.auth.visibility.own_jobs"
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.support.rules.asked_in_person"
        settings.INGESTION_PROGRESS_RECHECK_SECONDS = 600
        monkeypatch.setattr(visibility, "read_again", lambda watching: asked.extend(watching) or [])
        refused = admit(request=rf.get("/", headers={"X-Job": "other"}))
        permitted = admit(request=rf.get("/", headers={"X-Job": "job"}))
        limits.tick(0, time.monotonic() + 601)
        await limits._recheck
        await asyncio.sleep(0)

        assert asked == [(permitted.request, permitted.subscription)]
        assert refused.subscription.is_ending

    async def test_token_that_has_expired_by_the_recheck_is_reported_as_expired(
        self, admit, rf, monkeypatch
    ):
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda: 1_000_000_000.0)
            token, _ = tokens.issue(["job"])
        connection = admit(request=rf.get("/", {"token": token}))

        assert b'"code":"token_expired"' in await closing_message(connection)

    async def test_rule_that_fails_refuses_and_is_logged(self, admit, rf, settings, caplog):
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.support.rules.missing"

        assert b'"code":"forbidden"' in await closing_message(admit(request=rf.get("/")))
        assert "access_rule_failed" in caplog.text

    async def test_without_a_database_streams_stay_open_and_one_line_is_logged(
        self, watching, monkeypatch, caplog
    ):
        user, connection = watching
        with monkeypatch.context() as patch:

            def fail(*_):
                raise OperationalError

            patch.setattr(users, "read", fail)
            assert not await self.ends(connection)
            await User.objects.filter(pk=user.pk).aupdate(is_active=False)

        assert b'"code":"forbidden"' in await closing_message(connection)
        (failure,) = [each for each in caplog.records if each.message == "access_recheck_failed"]
        assert (failure.levelname, failure.exc_info[0]) == ("ERROR", OperationalError)
        assert caplog.text.count("access_recheck_recovered") == 1

    async def test_thread_ends_with_the_last_stream(self, limits, watching):
        _, connection = watching
        assert not await self.ends(connection)
        thread = limits._thread
        assert thread.is_alive
        limits.release(connection)
        async with asyncio.timeout(60):
            while thread.is_alive:  # noqa: ASYNC110  (nothing says so)
                await asyncio.sleep(0.01)

    async def test_no_connection_is_held_in_between(self, limits, watching):
        await asyncio.sleep(0.2)

        def held():
            return [c for c in connections.all(initialized_only=True) if c.connection is not None]

        assert await limits._thread.run(held) == []

    async def test_many_users_are_read_with_few_queries(
        self, rf, django_assert_num_queries, monkeypatch
    ):
        monkeypatch.setattr(revocations, "_second", lambda: 0)  # revocations are read once

        def read():
            requests = []
            for user in make_viewers(100):
                for token in ("", tokens.issue(["job"], issuer_id=str(user.pk))[0]):
                    requests.append(rf.get("/", {"token": token} if token else {}))
                    requests[-1].user = user
            stranger = rf.get("/")
            stranger.user = User.objects.create_user("eve")
            asked = [(request, "job") for request in [*requests, stranger]]
            revocations._read.cache_clear()
            # Revoked tokens; all users; those with the permission; and two for the user without
            # it, whom another backend may permit: the permissions of the user and of the groups.
            with django_assert_num_queries(5):
                return permissions.recheck(asked)

        assert await sync_to_async(read)() == [""] * 200 + ["forbidden"]

    @pytest.mark.parametrize("given", ["themselves", "group", "superuser"])
    async def test_permission_counts_from_user_group_and_superuser(self, rf, given):
        def codes():
            request = rf.get("/")
            (request.user,) = make_viewers(1, given)
            before = permissions.recheck([(request, "job")])
            User.objects.update(is_active=False)
            return before + permissions.recheck([(request, "job")])

        assert await sync_to_async(codes)() == ["", "forbidden"]

    async def test_backend_before_modelbackend_decides(self, rf, settings):
        settings.AUTHENTICATION_BACKENDS = ["tests.support.rules.NobodyMay", users.MODEL_BACKEND]

        def codes():
            request = rf.get("/")
            (request.user,) = make_viewers(1)
            return permissions.recheck([(request, "job")])

        assert await sync_to_async(codes)() == ["forbidden"]

    async def test_token_of_another_service_names_no_user(self):
        assert await sync_to_async(users.read)(["no number", "", "4711", "9" * 30]) == {}


REFUSED = {"job_id": ""}


def may_view_others(request, job_id):
    return job_id != REFUSED["job_id"]


def make_viewers(count: int, given: str = "themselves") -> list[User]:
    permission = Permission.objects.get(codename="view_job")
    users = [
        User.objects.create_user(f"viewer-{n}", is_superuser=given == "superuser")
        for n in range(count)
    ]
    if given == "themselves":
        permission.user_set.add(*users)
    elif given == "group":
        group = Group.objects.create(name="viewers")
        group.permissions.add(permission)
        group.user_set.add(*users)
    return users
