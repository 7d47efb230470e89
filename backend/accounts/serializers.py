"""Users and tokens as the API shows and takes them."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError as PasswordError
from django.db import transaction
from rest_framework import serializers
from rest_framework.validators import UniqueValidator

from backend.accounts.models import ApiToken, User
from backend.accounts.roles import Role, give, role_of
from backend.config.fields import NameField
from backend.config.serializers import ModelSerializer, Serializer


class UsernameField(serializers.CharField):
    """A user's name in the form in which Django's login page looks for it (NFKC)."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"max_length": 150, **options})

    def to_internal_value(self, data: Any) -> str:
        """The name."""
        return User.normalize_username(super().to_internal_value(data))


class LoginSerializer(Serializer):
    """A name and password for a token."""

    username = UsernameField()
    password = serializers.CharField(max_length=1000, write_only=True, trim_whitespace=False)
    name = NameField(required=False, default="", allow_blank=True, help_text="What the token is for.")


class NewTokenSerializer(serializers.Serializer[Any]):
    """A new token. The key is shown this once."""

    token = serializers.CharField()
    username = serializers.CharField()
    role = serializers.CharField(allow_null=True)


class TokenSerializer(ModelSerializer[ApiToken]):
    """A token without its key."""

    name = NameField(required=False, allow_blank=True)

    class Meta:
        model = ApiToken
        fields = ["id", "name", "created_at", "used_at"]


class RoleField(serializers.ChoiceField):
    """A user's role, which their groups stand for."""

    def __init__(self, **options: Any) -> None:
        super().__init__(choices=[(role.value, role.value) for role in Role], **options)

    def get_attribute(self, instance: Any) -> Any:
        """The role of the user."""
        return role_of(instance)


class UserSerializer(ModelSerializer[User]):
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
        instance.save()
        if role is not None:
            instance.is_superuser = False
            instance.save(update_fields=["is_superuser"])
            give(instance, role)
        return instance
