"""Sites and their enrolment as the API shows and takes them."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from backend.accounts.models import User
from backend.rest.fields import NameField
from backend.rest.serializers import Serializer, TableSerializer
from backend.sites import admission
from backend.sites.models import Enrolment, Site
from backend.sites.services import HOURS, MOST_HOURS

MOST_ALLOWED, MOST_OWNERS = 200, 100
UNTIL = "From then on runs that are opened do not admit the site; null: no end."


class SiteNameField(serializers.RegexField):
    """A site's name, in the grammar of clients' ids."""

    def __init__(self, **options: Any) -> None:
        wrong: dict[str, Any] = {"invalid": "A site's name is at most 64 of A-Z, a-z, 0-9, '.', '_' and '-'."}
        super().__init__(r"^[A-Za-z0-9._-]{1,64}\Z", error_messages=wrong, **options)


@extend_schema_field({"type": "array", "items": {"type": "string"}, "maxItems": MOST_OWNERS})
class OwnersField(serializers.ManyRelatedField):
    """People by their names."""

    default_error_messages: ClassVar[dict[str, Any]] = {"too_many": f"A site has at most {MOST_OWNERS} owners."}

    def to_internal_value(self, data: Any) -> list[User]:
        """Them; a name that nobody has is refused."""
        if isinstance(data, list | tuple) and len(data) > MOST_OWNERS:
            self.fail("too_many")
        return list(super().to_internal_value(data))


class SiteSerializer(TableSerializer[Site]):
    """A site; `standing` is enrolled, expired or revoked."""

    owners = OwnersField(serializers.SlugRelatedField[User](slug_field="username", queryset=User.objects.all()))
    allowed = serializers.ListField(
        child=NameField(),
        max_length=MOST_ALLOWED,
        help_text="For which runs of others its streams may train: federations' ids or names, platforms' public keys. "
        "Empty: for all.",
    )
    standing = serializers.CharField(read_only=True)
    admitted_by = serializers.SerializerMethodField(help_text="The runs that are not over and admit it.")

    class Meta:
        model = Site
        fields = [
            "id", "name", "key", "standing", "own", "owners", "allowed", "created_at", "valid_until", "revoked_at",
            "revoked_by", "revoked_why", "admitted_by",
        ]  # fmt: skip
        read_only_fields = ["name", "key", "own", "created_at", "revoked_at", "revoked_by", "revoked_why"]
        extra_kwargs = {"valid_until": {"help_text": UNTIL}}

    def get_admitted_by(self, site: Site) -> list[str]:
        """Their federations' ids."""
        return [deployment.federation for deployment in admission.admitting(site)]


class SiteRowSerializer(SiteSerializer):
    """A site in a list: without the runs that admit it."""

    admitted_by = None  # type: ignore[assignment]

    class Meta(SiteSerializer.Meta):
        fields = [name for name in SiteSerializer.Meta.fields if name != "admitted_by"]


class RevocationSerializer(Serializer):
    """Why a site is revoked."""

    why = NameField(max_length=400)


class EnrolmentSerializer(TableSerializer[Enrolment]):
    """A one-time token without its text."""

    name = SiteNameField()
    hours = serializers.IntegerField(
        min_value=1, max_value=MOST_HOURS, required=False, write_only=True,
        help_text=f"So long it may be used; {HOURS} without it.",
    )  # fmt: skip
    made_by = serializers.CharField(source="owner.username", read_only=True, default=None)

    class Meta:
        model = Enrolment
        fields = ["id", "name", "hours", "valid_until", "made_by", "created_at", "expires_at", "used_at", "site"]
        read_only_fields = ["created_at", "expires_at", "used_at", "site"]
        extra_kwargs = {"valid_until": {"help_text": f"Of the site. {UNTIL}"}}


class NewEnrolmentSerializer(EnrolmentSerializer):
    """A new token. Its text is shown this once."""

    token = serializers.CharField(read_only=True)

    class Meta(EnrolmentSerializer.Meta):
        fields = ["token", *EnrolmentSerializer.Meta.fields]


class EnrolSerializer(Serializer):
    """What a site sends: the token, its new public key, and the proof that it holds the private one."""

    token = serializers.CharField(max_length=200)
    name = SiteNameField(required=False, allow_blank=True, help_text="To be sure which site the token is for.")
    key = serializers.CharField(max_length=100, help_text="The Ed25519 public key: 43 characters of base64url.")
    proof = serializers.CharField(
        max_length=400, help_text="The key's signature over the token: `mainstem.protocol.enrolment`, base64url."
    )


class EnrolledSerializer(serializers.Serializer[Any]):
    """The site that was made, and by which key this platform signs."""

    name = serializers.CharField()
    key = serializers.CharField()
    valid_until = serializers.DateTimeField(allow_null=True)
    platform = serializers.CharField(allow_null=True, help_text="The platform's public key; null where it has none.")
