from django.db import migrations, models

from mainstem.streams.announcement import addressee


def address(apps, schema_editor):
    """Whom the announcements that are there already name, from their keys."""
    sources = apps.get_model("streams", "DataSource")
    for source in sources.objects.exclude(key=None).only("pk", "key").iterator():
        federation = addressee(bytes(source.key)[:64])
        if federation:
            sources.objects.filter(pk=source.pk).update(addressed_to=federation)


class Migration(migrations.Migration):

    dependencies = [
        ('streams', '0002_injection'),
    ]

    operations = [
        migrations.RemoveField(model_name='datasource', name='addressed_to'),
        migrations.AddField(
            model_name='datasource',
            name='addressed_to',
            field=models.CharField(blank=True, default='', max_length=64),
            preserve_default=False,
        ),
        migrations.AddField(model_name='datasource', name='stream_ids', field=models.JSONField(default=dict)),
        migrations.AddField(model_name='datasource', name='readable', field=models.BigIntegerField(null=True)),
        migrations.AddField(
            model_name='datasource',
            name='standing',
            field=models.CharField(blank=True, default='', max_length=10),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='datasource',
            name='notice',
            field=models.TextField(blank=True, default=''),
            preserve_default=False,
        ),
        migrations.AddField(model_name='datasource', name='surveyed_at', field=models.DateTimeField(null=True)),
        migrations.RunPython(address, migrations.RunPython.noop),
    ]
