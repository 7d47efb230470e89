"""What a person decided about a log that is not the one that was witnessed."""

from __future__ import annotations

from django.db import models

from backend.deployments.models.deployment import Deployment
from mainstem.protocol.witness import Acceptance, Witness


class WitnessAcceptance(models.Model):
    """The log as it was then is the run's, though something else was witnessed. Never changed."""

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="acceptances")
    number = models.IntegerField()
    """Counts those of a deployment, from 1."""
    count = models.BigIntegerField()
    hash = models.CharField(max_length=64)
    """What was accepted: so many lifecycle records, the last with this sha256."""
    lost_count = models.BigIntegerField(default=0)
    lost_hash = models.CharField(max_length=64, blank=True)
    """What was given up; 0 and empty where the log held all that was witnessed here."""
    by = models.CharField(max_length=150)
    """The user's name as it was then."""
    why = models.TextField()
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["deployment", "number"], name="acceptance_number")]

    def __str__(self) -> str:
        return f"acceptance {self.number} of {self.deployment_id}"

    @property
    def stated(self) -> Acceptance:
        """As an export carries it."""
        lost = Witness(count=self.lost_count, hash=self.lost_hash) if self.lost_count else None
        return Acceptance(
            number=self.number,
            accepted=Witness(count=self.count, hash=self.hash),
            witnessed=lost,
            by=self.by,
            why=self.why,
            time_ms=round(self.at.timestamp() * 1000),
        )
