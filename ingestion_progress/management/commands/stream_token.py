"""`manage.py stream_token`: a token for `?token=` of a stream."""

from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ObjectDoesNotExist
from django.core.management.base import CommandError, CommandParser

from ingestion_progress.auth import revocations, tokens
from ingestion_progress.conf import conf
from ingestion_progress.exceptions import IngestionProgressError
from ingestion_progress.management.terminal.command import TerminalCommand


class Command(TerminalCommand):
    help = "Prints a token that lets its bearer watch jobs for some minutes, or revokes one."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("jobs", nargs="*", metavar="JOB_ID", help="A job need not exist yet.")
        parser.add_argument("--all", action="store_true", help="Every job, also later ones.")
        parser.add_argument("--minutes", type=float, help="Its lifetime (default: TOKEN_MINUTES).")

        parser.add_argument(
            "--revoke",
            metavar="TOKEN_OR_ID",
            help="Refuse this token from now on, and end its streams.",
        )
        parser.add_argument(
            "--revoke-all-of",
            metavar="USER",
            help="Refuse all tokens that this user has got until now.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["revoke"] or options["revoke_all_of"]:
            self._revoke(options["revoke"], options["revoke_all_of"])
            return
        if bool(options["jobs"]) == options["all"]:
            raise CommandError("Name the jobs, or say --all.")
        jobs = None if options["all"] else options["jobs"]
        try:
            text, _ = tokens.issue(jobs, minutes=options["minutes"])
        except IngestionProgressError as refused:
            raise CommandError(str(refused)) from refused
        self.stdout.write(text)

    def _revoke(self, token: str | None, username: str | None) -> None:
        try:
            if token:
                revocations.revoke(token)
            if username:
                user = get_user_model().objects.get_by_natural_key(username)
                revocations.revoke_all_of(str(user.pk))
        except ObjectDoesNotExist:
            raise CommandError(f"There is no user {username}.") from None
        except IngestionProgressError as refused:
            raise CommandError(str(refused)) from refused
        self.stdout.write(f"Revoked. Open streams end within {conf.recheck_seconds:g} seconds.")
