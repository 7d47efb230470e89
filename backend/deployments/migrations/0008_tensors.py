from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('deployments', '0007_log_doubts'),
    ]

    operations = [
        migrations.AddField(
            model_name='deployment',
            name='tensors',
            field=models.JSONField(default=list),
        ),
    ]
