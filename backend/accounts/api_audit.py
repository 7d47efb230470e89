"""Who did what, over REST; for admins."""

from __future__ import annotations

from rest_framework import mixins, viewsets

from backend.accounts.permissions import AdminPermission
from backend.audit.filters import AuditFilters
from backend.audit.models import AuditEntry
from backend.rest.serializers import TableSerializer


class AuditSerializer(TableSerializer[AuditEntry]):
    """One record. `sent_at` is when Kafka had it."""

    class Meta:
        model = AuditEntry
        fields = [
            "uid", "at", "who", "by", "token", "action", "object", "name", "address", "result", "detail", "sent_at",
        ]  # fmt: skip
        read_only_fields = fields


class AuditViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[AuditEntry]):
    """Every change by a person or a program, downloads of models, wrong passwords, refusals; the newest first."""

    permission_classes = (AdminPermission,)
    queryset = AuditEntry.objects.all()
    serializer_class = AuditSerializer
    filterset_class = AuditFilters
    ordering_fields = ("at",)
