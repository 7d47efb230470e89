from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='DataSource',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('cluster_id', models.CharField(max_length=64)),
                ('topic_id', models.CharField(max_length=64)),
                ('partition', models.IntegerField()),
                ('offset', models.BigIntegerField()),
                ('timestamp_ms', models.BigIntegerField()),
                ('key', models.BinaryField(null=True)),
                ('value', models.BinaryField(null=True)),
                ('problem', models.TextField(blank=True)),
                ('topic', models.TextField(blank=True)),
                ('input_format', models.CharField(blank=True, max_length=10)),
                ('input_config', models.JSONField(default=dict)),
                ('description', models.TextField(blank=True)),
                ('restrictions', models.JSONField(null=True)),
                ('validation_rate', models.FloatField(default=0)),
                ('test_rate', models.FloatField(default=0)),
                ('total_msg', models.BigIntegerField(null=True)),
                ('incremental', models.BooleanField(default=False)),
                ('unsupervised_topic', models.CharField(blank=True, max_length=249)),
                ('addressed_to', models.BigIntegerField(null=True)),
                ('received_at', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'ordering': ('-id',),
                'constraints': [models.UniqueConstraint(fields=('cluster_id', 'topic_id', 'partition', 'offset'), name='data_source_place')],
            },
        ),
    ]
