from __future__ import annotations

import logging

import pytest

from ingestion_progress.checks import check_wakeups
from ingestion_progress.wakeups.carriers import carrier_name
from ingestion_progress.wakeups.hints import MAX_BYTES, Hint, this_process
from ingestion_progress.wakeups.outages import LAST_PAUSE_SECONDS, Outage

POSTGRESQL = {"ENGINE": "django.db.backends.postgresql", "NAME": "progress"}


def test_hint_arrives_as_it_was_sent():
    hint = Hint.about(["job-1", "Größe 2"], ["Größe 2"])
    assert Hint.decoded(hint.encoded()) == hint
    assert hint.origin == this_process()


def test_hint_about_more_than_a_carrier_takes_names_no_job():
    hint = Hint.about(["ü" * 255] * 20)
    assert hint.job_ids == ()
    assert len(Hint.about([f"{n:032}" for n in range(150)]).encoded()) <= MAX_BYTES


@pytest.mark.parametrize(
    "text",
    ["", "look!", "{}", "[]", "[1]", '["me", 2]', "null", "[[]]", '["me", "job"]', '["me", [2]]'],
)
def test_what_others_write_to_the_channel_is_no_hint(text):
    assert Hint.decoded(text) is None


@pytest.mark.parametrize(
    ("choice", "database", "expected"),
    [
        ("auto", POSTGRESQL, "notify"),
        ("notify", POSTGRESQL, "notify"),
        ("off", POSTGRESQL, ""),
        ("auto", {"ENGINE": "django.db.backends.sqlite3"}, ""),
        ("notify", {"ENGINE": "django.db.backends.sqlite3"}, ""),
        ("channels", POSTGRESQL, ""),
        ("pigeons", POSTGRESQL, ""),
    ],
)
def test_carrier_follows_from_the_setting_and_the_database(
    settings, monkeypatch, choice, database, expected
):
    settings.INGESTION_PROGRESS_WAKEUPS = choice
    monkeypatch.setitem(settings.DATABASES, "default", database)
    assert carrier_name() == expected


@pytest.mark.parametrize(
    ("choice", "backend", "expected"),
    [
        ("auto", "channels_redis.pubsub.RedisPubSubChannelLayer", "channels"),
        ("channels", "channels_redis.pubsub.RedisPubSubChannelLayer", "channels"),
        ("notify", "channels_redis.pubsub.RedisPubSubChannelLayer", "notify"),
        ("off", "channels_redis.pubsub.RedisPubSubChannelLayer", ""),
        # It never crosses processes.
        ("auto", "channels.layers.InMemoryChannelLayer", "notify"),
        ("channels", "channels.layers.InMemoryChannelLayer", ""),
        ("auto", "package_that_is_missing.Layer", "notify"),
    ],
)
def test_channel_layer_that_crosses_processes_comes_before_notify(
    settings, monkeypatch, choice, backend, expected
):
    settings.INGESTION_PROGRESS_WAKEUPS = choice
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend}}
    monkeypatch.setitem(settings.DATABASES, "default", POSTGRESQL)
    assert carrier_name() == expected


@pytest.mark.parametrize("choice", ["channels", "notify"])
def test_way_that_cannot_be_used_is_an_error_that_says_why(settings, monkeypatch, choice):
    settings.INGESTION_PROGRESS_WAKEUPS = choice
    monkeypatch.setitem(settings.DATABASES, "default", {"ENGINE": "django.db.backends.sqlite3"})
    (message,) = check_wakeups()
    assert message.id == "ingestion_progress.E005"
    assert {"channels": "CHANNEL_LAYERS", "notify": "PostgreSQL"}[choice] in message.msg


def test_outage_is_one_line_and_its_end_another(caplog):
    caplog.set_level(logging.INFO)
    outage = Outage("receive")
    outage.is_over("notify")
    pauses = []
    for _ in range(20):
        outage.goes_on("notify", ConnectionError("refused\nby the server"))
        pauses.append(outage.pause_seconds)
    outage.is_over("notify")
    outage.is_over("notify")
    assert [record.message for record in caplog.records] == ["wakeups_away", "wakeups_back"]
    assert caplog.records[0].reason == "ConnectionError: refused"
    assert pauses == sorted(pauses)
    assert pauses[-1] == LAST_PAUSE_SECONDS
