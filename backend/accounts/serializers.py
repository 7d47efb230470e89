"""Users and tokens as the API shows and takes them."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError as PasswordError
from django.db import transaction
from rest_framework import serializers
from rest_framework.validators import UniqueValidator

from backend.accounts import sessions
from backend.accounts.models import ApiToken, Scope, User, UserSession
from backend.accounts.roles import Role, give, role_of
from backend.rest.fields import NameField
from backend.rest.serializers import Serializer, TableSerializer


class UsernameField(serializers.CharField):
    """A user's name in the form in which Django's login page looks for it (NFKC)."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"max_length": 150, **options})

    def to_internal_value(self, data: Any) -> str:
        """The name."""
        return User.normalize_username(super().to_internal_value(data))


SCOPE = "The most that it may do: read, operate (read and what operators do), or admin: all that its user may."
EXPIRY = "From then on it is refused; null: never."


class LoginSerializer(Serializer):
    """A name and password for a token."""

    username = UsernameField()
    password = serializers.CharField(max_length=1000, write_only=True, trim_whitespace=False)
    name = NameField(required=False, default="", allow_blank=True, help_text="What the token is for.")
    scope = serializers.ChoiceField(Scope.choices, required=False, default=Scope.ADMIN, help_text=SCOPE)
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None, help_text=EXPIRY)


class NewTokenSerializer(serializers.Serializer[Any]):
    """A new token. The key is shown this once."""

    id = serializers.IntegerField()
    token = serializers.CharField()
    scope = serializers.CharField()
    expires_at = serializers.DateTimeField(allow_null=True)
    username = serializers.CharField()
    role = serializers.CharField(allow_null=True)


class TokenSerializer(TableSerializer[ApiToken]):
    """A token without its key."""

    name = NameField(required=False, allow_blank=True)

    class Meta:
        model = ApiToken
        fields = ["id", "name", "scope", "expires_at", "created_at", "used_at"]
        extra_kwargs = {"scope": {"help_text": SCOPE}, "expires_at": {"help_text": EXPIRY}}


class AnyTokenSerializer(TokenSerializer):
    """Anybody's, with whose it is."""

    user = serializers.CharField(source="user.username", read_only=True)

    class Meta(TokenSerializer.Meta):
        fields = ["user", *TokenSerializer.Meta.fields]


class SessionSerializer(TableSerializer[UserSession]):
    """Where somebody is logged in; `current` is the session that asks."""

    user = serializers.CharField(source="user.username", read_only=True)
    current = serializers.SerializerMethodField()

    class Meta:
        model = UserSession
        fields = ["id", "user", "began_at", "seen_at", "address", "agent", "current"]
        read_only_fields = fields

    def get_current(self, row: UserSession) -> bool:
        """Whether it asks."""
        return bool(row.key == self.context["request"].session.session_key)


class EndSessionsSerializer(Serializer):
    """Whose sessions are ended."""

    user = UsernameField(required=False, default="", allow_blank=True, help_text="Everybody's where it is empty.")


class RoleField(serializers.ChoiceField):
    """A user's role, which their groups stand for."""

    def __init__(self, **options: Any) -> None:
        super().__init__(choices=[(role.value, role.value) for role in Role], **options)

    def get_attribute(self, instance: Any) -> Any:
        """The role of the user."""
        return role_of(instance)


class UserSerializer(TableSerializer[User]):
    """A user with one role."""

    username = UsernameField(
        validators=[
            UnicodeUsernameValidator(),
            UniqueValidator(User.objects.all(), message="A user of this name already exists: choose another."),
        ]
    )
    role = RoleField()
    password = serializers.CharField(write_only=True, required=False, max_length=1000, trim_whitespace=False)

    class Meta:
        model = User
        fields = ["id", "username", "email", "role", "password", "is_active", "last_login", "date_joined"]
        read_only_fields = ["last_login", "date_joined"]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a weak password with Django's sentence, and a name that is the password."""
        kept = {name: getattr(self.instance, name) for name in ("username", "email") if self.instance is not None}
        user = User(**kept | {name: attrs[name] for name in ("username", "email") if name in attrs})
        if attrs.get("password") is not None:
            try:
                validate_password(attrs["password"], user)
            except PasswordError as error:
                raise serializers.ValidationError({"password": list(error.messages)}) from error
        elif self.instance is not None and self.instance.check_password(user.username):
            raise serializers.ValidationError({"username": "This is the user's password: choose another name."})
        return attrs

    @transaction.atomic
    def create(self, validated_data: dict[str, Any]) -> User:
        """A user without a password can only be given tokens by `bootstrap`."""
        role, password = validated_data.pop("role"), validated_data.pop("password", None)
        user = User(**validated_data)
        user.set_password(password)
        user.save()
        give(user, role)
        return user

    @transaction.atomic
    def update(self, instance: User, validated_data: dict[str, Any]) -> User:
        """Change what is given; a new password ends the user's tokens and sessions."""
        role, password = validated_data.pop("role", None), validated_data.pop("password", None)
        for name, value in validated_data.items():
            setattr(instance, name, value)
        if password is not None:
            instance.set_password(password)
            instance.tokens.all().delete()
            sessions.forget(instance)
        instance.save()
        if role is not None:
            instance.is_superuser = False
            instance.save(update_fields=["is_superuser"])
            give(instance, role)
        return instance
