"""Deployed versions."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("deployments", "0004_examination"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Inference",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=40, unique=True)),
                ("federation", models.CharField(db_index=True, max_length=8)),
                ("version", models.IntegerField()),
                ("sha256", models.CharField(max_length=64)),
                ("replicas", models.IntegerField(default=1)),
                ("input_topic", models.CharField(db_index=True, max_length=249)),
                ("output_topic", models.CharField(max_length=249)),
                ("input_format", models.CharField(max_length=10)),
                ("input_config", models.JSONField(default=dict)),
                ("partitions", models.IntegerField(default=4)),
                ("prepared", models.BooleanField(default=False)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("starting", "starting"),
                            ("running", "running"),
                            ("failing", "failing"),
                            ("stopped", "stopped"),
                            ("ending", "ending"),
                        ],
                        db_index=True,
                        default="starting",
                        max_length=10,
                    ),
                ),
                ("ready", models.IntegerField(default=0)),
                ("detail", models.TextField(blank=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "created_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "deployment",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="inferences",
                        to="deployments.deployment",
                    ),
                ),
            ],
            options={
                "ordering": ("-id",),
            },
        ),
    ]
