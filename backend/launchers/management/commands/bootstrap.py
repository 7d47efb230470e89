"""`bootstrap`: the admin's password and the loggers' token from the environment."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from backend.accounts.models import ApiToken, User
from backend.accounts.roles import Role, give
from backend.accounts.services import end_token
from backend.audit import circumstances
from backend.audit.recording import note, recorded
from backend.launchers import lease
from backend.project.environment import secret, text

ADMIN = "admin"
LOGGERS = "loggers"


class Command(BaseCommand):
    """Idempotent: what is right already is left alone."""

    help = "Create or update user `admin` (MAINSTEM_ADMIN_PASSWORD) and the loggers' token (MAINSTEM_TOKEN)."

    def add_arguments(self, parser: CommandParser) -> None:
        """See `BaseCommand`."""
        parser.add_argument(
            "--keep-password", action="store_true", help="leave an admin's password alone: it may have been changed"
        )

    @circumstances.commanded("bootstrap")
    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        """Do it; raises CommandError where neither variable is set, the password is weak, or a running platform has
        other logins.

        With `--keep-password` the secrets are that platform's own, which were changed.
        """
        password, token = secret("MAINSTEM_ADMIN_PASSWORD"), secret("MAINSTEM_TOKEN")
        if not password and not token:
            raise CommandError("set MAINSTEM_ADMIN_PASSWORD or MAINSTEM_TOKEN (or their _FILE): nothing to do")
        login, other = lease.login_of(password, token), lease.living()
        ours = other is None or other.owner == text(lease.OWNER) or other.login in ("", login)
        if other is not None and not ours and not options["keep_password"]:
            raise CommandError(f"these are not the logins of who runs here: {lease.refusal(other)}")
        lease.note_login(login)
        if password:
            self._admin(password, keep=options["keep_password"])
        if token:
            self._loggers(token)

    def _admin(self, password: str, *, keep: bool) -> None:
        user = self._user(ADMIN, Role.ADMIN)
        if not (keep and user.has_usable_password()) and not user.check_password(password):
            try:
                validate_password(password, user)
            except ValidationError as error:
                raise CommandError(f"MAINSTEM_ADMIN_PASSWORD will not do: {' '.join(error.messages)}") from error
            user.set_password(password)
            with recorded("user.change", user, "password"):
                user.save()
        self.stdout.write(f"user {ADMIN} is ready")

    def _loggers(self, token: str) -> None:
        user = self._user(LOGGERS, Role.LOGGER)
        digest = ApiToken.hash(token)
        for other in user.tokens.exclude(digest=digest):
            end_token(other)
        known, made = user.tokens.get_or_create(digest=digest, defaults={"name": "control loggers"})
        if made:
            note("token.create", known.identity)
        self.stdout.write("the loggers' token is ready")

    @staticmethod
    def _user(name: str, role: Role) -> User:
        user, created = User.objects.get_or_create(username=name)
        if created:
            user.set_unusable_password()
            with recorded("user.create", user, f"role {role}"):
                user.save()
        give(user, role)
        return user
