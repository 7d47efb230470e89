from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('launchers', '0004_lease'),
    ]

    operations = [
        migrations.CreateModel(
            name='Report',
            fields=[
                ('part', models.CharField(max_length=16, primary_key=True, serialize=False)),
                ('at', models.DateTimeField()),
                ('trouble', models.TextField(blank=True)),
            ],
        ),
    ]
