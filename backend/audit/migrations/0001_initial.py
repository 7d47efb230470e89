"""The table of who did what."""

from django.db import migrations, models

MEANS = ["session", "token", "password", "command", "platform"]
RESULTS = ["done", "begun", "refused", "failed"]


class Migration(migrations.Migration):
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="AuditEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uid", models.CharField(editable=False, max_length=32, unique=True)),
                ("at", models.DateTimeField(db_index=True)),
                ("who", models.CharField(blank=True, db_index=True, max_length=150)),
                (
                    "by",
                    models.CharField(
                        choices=[(name, "name and password" if name == "password" else name) for name in MEANS],
                        max_length=10,
                    ),
                ),
                ("token", models.CharField(blank=True, max_length=120)),
                ("action", models.CharField(db_index=True, max_length=40)),
                ("object", models.CharField(blank=True, max_length=200)),
                ("name", models.CharField(blank=True, max_length=200)),
                ("address", models.CharField(blank=True, max_length=64)),
                ("result", models.CharField(choices=[(name, name) for name in RESULTS], max_length=10)),
                ("detail", models.CharField(blank=True, max_length=400)),
                ("sent_at", models.DateTimeField(editable=False, null=True)),
            ],
            options={
                "ordering": ["-at", "-id"],
                "indexes": [models.Index(condition=models.Q(("sent_at", None)), fields=["id"], name="audit_waiting")],
            },
        ),
    ]
