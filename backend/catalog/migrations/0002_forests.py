from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("catalog", "0001_initial")]

    operations = [
        migrations.AlterField(
            model_name="model",
            name="kind",
            field=models.CharField(
                choices=[
                    ("template", "template"),
                    ("json", "Keras JSON"),
                    ("keras", ".keras file"),
                    ("source", "Python source"),
                    ("forest", "boosted trees"),
                ],
                max_length=10,
            ),
        ),
    ]
