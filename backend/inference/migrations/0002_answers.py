"""The form of answers, and how often each comes."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("inference", "0001_initial")]

    operations = [
        migrations.AddField("inference", "answers", models.CharField(default="outputs", max_length=10)),
        migrations.AddField("inference", "delivery", models.CharField(default="exactly-once", max_length=20)),
    ]
