"""Why clients gave up, and what keeps the aggregator from going on."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("deployments", "0004_examination")]

    operations = [
        migrations.AddField("deployment", "failures", models.JSONField(default=list)),
        migrations.AddField("deployment", "trouble", models.TextField(blank=True, default=""), preserve_default=False),
    ]
