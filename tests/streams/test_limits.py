"""Who is let in and who has to go, without a server. With one: test_stream_gate."""

from __future__ import annotations

import asyncio
import time

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from django.db import OperationalError, connections

from ingestion_progress.auth import permissions, tokens, users
from ingestion_progress.feed import Selection, Subscription
from ingestion_progress.streams.limits import ABANDONED_AFTER_SECONDS, ConnectionLimits, network_of


@pytest.fixture
async def gate(settings):
    settings.INGESTION_PROGRESS_PUBLIC = False
    gate = ConnectionLimits()
    yield gate
    for seat in list(gate._connections):
        gate.release(seat)
    assert gate.stream_count == 0
    assert gate._counts == {}
    await asyncio.sleep(0)


@pytest.fixture
def admit(gate, rf):
    """Lets a stream in, with a subscriber that somebody reads."""

    def admit(user_id="", address="192.0.2.1", expires_at=None, request=None):
        request = request or rf.get("/", REMOTE_ADDR=address)
        grant = permissions.Grant(user_id=user_id, expires_at=expires_at)
        seat = gate.admit(request, ["job"], grant)
        if seat is not None:
            seat.subscription = Subscription(Selection.one("job"), asyncio.get_running_loop())
            seat.subscription.open()
        return seat

    return admit


async def last_word(seat) -> bytes:
    """The end of the stream."""
    async with asyncio.timeout(5):
        return b"".join([part async for part in seat.subscription])


class TestLimits:
    async def test_one_user_has_so_many_and_another_has_more(self, gate, admit, settings):
        settings.INGESTION_PROGRESS_MAX_STREAMS_PER_USER = 2
        first = admit("1")
        assert admit("1")
        assert admit("1") is None
        assert admit("2")
        assert admit("")
        gate.release(first)
        gate.release(first)
        assert admit("1")
        assert admit("1") is None

    async def test_one_address_has_so_many(self, admit, settings):
        settings.INGESTION_PROGRESS_MAX_STREAMS_PER_ADDRESS = 1
        assert admit(address="192.0.2.1")
        assert admit("1", address="192.0.2.1") is None
        assert admit(address="192.0.2.2")
        assert admit(address="2001:db8::1")
        assert admit(address="2001:db8::2") is None
        assert admit(address="2001:db8:0:1::1")

    async def test_all_together_have_so_many(self, admit, settings):
        settings.INGESTION_PROGRESS_MAX_STREAMS = 2
        assert admit("1")
        assert admit("2")
        assert admit("3") is None

    async def test_nought_is_no_limit(self, admit, settings):
        for name in ("", "_PER_USER", "_PER_ADDRESS"):
            setattr(settings, f"INGESTION_PROGRESS_MAX_STREAMS{name}", 0)
        assert all(admit("1") for _ in range(1000))

    async def test_a_seat_that_nobody_takes_is_given_back(self, gate, admit, rf):
        assert gate.admit(rf.get("/"), ["job"], permissions.Grant())
        taken = admit()
        gate.tick(time.time(), time.monotonic() + ABANDONED_AFTER_SECONDS + 1)
        assert gate.stream_count == 1
        assert taken in gate._connections

    @pytest.mark.parametrize("address", ["", "unix:", "192.0.2.1"])
    def test_what_is_no_ipv6_stays_as_it_is(self, address):
        assert network_of(address) == address

    def test_ipv4_is_the_same_behind_a_socket_for_both(self):
        assert network_of("::ffff:192.0.2.1") == "192.0.2.1"


class TestExpiry:
    async def test_stream_ends_when_its_token_does(self, gate, admit):
        now = time.time()
        soon, later = admit(expires_at=now + 5), admit(expires_at=now + 50)

        assert gate.tick(now + 4.5, 0) == pytest.approx(0.5)
        gate.tick(now + 5, 0)

        assert b'"code":"token_expired"' in await last_word(soon)
        assert later.subscription.output.frames_sent == 0

    async def test_nothing_follows_the_end(self, gate, admit, make_frame):
        seat = admit(expires_at=1)
        seat.subscription.put("job", make_frame(b"unsent"))
        gate.tick(2, 0)
        seat.subscription.put("job", make_frame(b"late"))

        word = await last_word(seat)
        assert b"token_expired" in word
        assert b"unsent" not in word
        assert b"late" not in word


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

    async def ends(self, seat) -> bool:
        await asyncio.sleep(0.3)
        return seat.subscription.output.frames_sent > 0 or bool(seat.subscription._unsent)

    async def test_who_may_watches_on(self, watching):
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
    async def test_who_may_no_longer_is_told_so(self, watching, change):
        user, seat = watching
        await sync_to_async(change)(user)

        assert b'"code":"forbidden"' in await last_word(seat)

    async def test_token_ends_with_the_account_of_its_maker(self, watching, admit, rf):
        user, _ = watching
        token, _ = tokens.issue(["job"], issuer_id=str(user.pk))
        seat = admit(str(user.pk), request=rf.get("/", {"token": token}))
        assert not await self.ends(seat)
        await User.objects.filter(pk=user.pk).aupdate(is_active=False)

        assert b'"code":"forbidden"' in await last_word(seat)

    async def test_rule_of_the_project_is_asked_again(self, admit, rf, settings):
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.support.rules.asked_in_person"
        request = rf.get("/", headers={"X-Job": "job"})
        request.user = AnonymousUser()
        seat = admit(request=request)
        assert not await self.ends(seat)
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.support.rules.own_jobs_only"

        assert b'"code":"forbidden"' in await last_word(seat)

    @pytest.mark.parametrize("by_token", [False, True], ids=["session", "token"])
    async def test_deactivated_user_is_refused_although_the_rule_of_the_project_agrees(
        self, admit, rf, settings, by_token
    ):
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.support.rules.asked_in_person"
        user = await User.objects.acreate_user("ada")
        token, _ = tokens.issue(["job"], issuer_id=str(user.pk))
        request = rf.get("/", {"token": token} if by_token else {}, headers={"X-Job": "job"})
        request.user = AnonymousUser() if by_token else user
        seat = admit(str(user.pk), request=request)
        assert not await self.ends(seat)
        await User.objects.filter(pk=user.pk).aupdate(is_active=False)

        assert b'"code":"forbidden"' in await last_word(seat)

    async def test_database_error_in_the_rule_of_the_project_ends_no_stream(
        self, admit, rf, settings, caplog
    ):
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.support.rules.without_database"
        request = rf.get("/")
        request.user = AnonymousUser()
        seat = admit(request=request)
        assert not await self.ends(seat)
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.support.rules.own_jobs_only"

        assert b'"code":"forbidden"' in await last_word(seat)
        assert caplog.text.count("access_recheck_failed") == 1

    async def test_failed_recheck_is_repeated_long_before_the_next_one_is_due(
        self, gate, admit, rf, settings, caplog
    ):
        settings.INGESTION_PROGRESS_RECHECK_SECONDS = 600
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.support.rules.without_database"
        request = rf.get("/")
        request.user = AnonymousUser()
        seat = admit(request=request)
        gate.tick(time.time(), time.monotonic() + 601)
        async with asyncio.timeout(5):
            while "access_recheck_failed" not in caplog.text:  # noqa: ASYNC110  (nothing says so)
                await asyncio.sleep(0.01)
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.support.rules.own_jobs_only"

        assert b'"code":"forbidden"' in await last_word(seat)

    async def test_rule_that_fails_refuses_and_is_logged(self, admit, rf, settings, caplog):
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.support.rules.missing"

        assert b'"code":"forbidden"' in await last_word(admit(request=rf.get("/")))
        assert "access_rule_failed" in caplog.text

    async def test_without_a_database_streams_stay_open_and_it_is_said_once(
        self, watching, monkeypatch, caplog
    ):
        user, seat = watching
        with monkeypatch.context() as away:

            def fail(*_):
                raise OperationalError

            away.setattr(users, "read", fail)
            assert not await self.ends(seat)
            await User.objects.filter(pk=user.pk).aupdate(is_active=False)

        assert b'"code":"forbidden"' in await last_word(seat)
        assert caplog.text.count("access_recheck_failed") == 1
        assert caplog.text.count("access_recheck_recovered") == 1

    async def test_no_connection_is_held_in_between(self, gate, watching):
        await asyncio.sleep(0.2)

        def held():
            return [c for c in connections.all(initialized_only=True) if c.connection is not None]

        assert await gate._thread.run(held) == []

    async def test_a_crowd_of_users_is_read_at_once(self, rf, django_assert_num_queries):
        def read():
            requests = []
            for user in make_viewers(100):
                for token in ("", tokens.issue(["job"], issuer_id=str(user.pk))[0]):
                    requests.append(rf.get("/", {"token": token} if token else {}))
                    requests[-1].user = user
            stranger = rf.get("/")
            stranger.user = User.objects.create_user("eve")
            asked = [(request, "job") for request in [*requests, stranger]]
            # All users, who of them has the permission; and of the one who is not said to have it
            # once more, with that of the groups, for other backends may give it.
            with django_assert_num_queries(4):
                return permissions.recheck(asked)

        assert await sync_to_async(read)() == [""] * 200 + ["forbidden"]

    @pytest.mark.parametrize("given", ["themselves", "group", "superuser"])
    async def test_permission_counts_however_it_is_given(self, rf, given):
        def codes():
            request = rf.get("/")
            (request.user,) = make_viewers(1, given)
            before = permissions.recheck([(request, "job")])
            User.objects.update(is_active=False)
            return before + permissions.recheck([(request, "job")])

        assert await sync_to_async(codes)() == ["", "forbidden"]

    async def test_backend_before_djangos_own_has_the_word(self, rf, settings):
        settings.AUTHENTICATION_BACKENDS = ["tests.support.rules.NobodyMay", users.MODEL_BACKEND]

        def codes():
            request = rf.get("/")
            (request.user,) = make_viewers(1)
            return permissions.recheck([(request, "job")])

        assert await sync_to_async(codes)() == ["forbidden"]

    async def test_token_of_another_service_names_nobody_here(self):
        assert await sync_to_async(users.read)(["no number", "", "4711", "9" * 30]) == {}


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
