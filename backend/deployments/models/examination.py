"""What became of examining a version; made on demand from the log, so that it may be deleted at any time."""

from __future__ import annotations

from django.db import models

from backend.deployments.models.deployment import Deployment


class Examination(models.Model):
    """A version's proof and its updates' norms. `outcome` is None while it is under way."""

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="examinations")
    version = models.IntegerField()
    sha256 = models.CharField(max_length=64)
    asked_at = models.DateTimeField()
    outcome = models.JSONField(null=True)
    """`proof`, `norm`, `measures` as `mainstem.lineage.Examination` has them; or `error`, a sentence."""

    class Meta:
        constraints = [models.UniqueConstraint(fields=["deployment", "version"], name="examination_version")]

    def __str__(self) -> str:
        return f"examination of version {self.version} of {self.deployment_id}"

    @property
    def pending(self) -> bool:
        """Whether it is still under way."""
        return self.outcome is None
