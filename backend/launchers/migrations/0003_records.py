from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('launchers', '0002_job'),
    ]

    operations = [
        migrations.AddField(model_name='job', name='records', field=models.BigIntegerField(null=True)),
    ]
