from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('launchers', '0003_records'),
    ]

    operations = [
        migrations.CreateModel(
            name='Lease',
            fields=[
                ('name', models.CharField(max_length=16, primary_key=True, serialize=False)),
                ('owner', models.CharField(blank=True, max_length=64)),
                ('told', models.CharField(blank=True, max_length=300)),
                ('place', models.CharField(blank=True, max_length=200)),
                ('pid', models.IntegerField(default=0)),
                ('start', models.BigIntegerField(null=True)),
                ('since', models.DateTimeField()),
                ('expires_at', models.DateTimeField()),
                ('login', models.CharField(blank=True, max_length=64)),
            ],
        ),
    ]
