"""The model that the permissions of the live page are of. It has no table."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Nothing in the database but, after it, two permissions."""

    initial = True
    operations = [  # noqa: RUF012 - Django's shape
        migrations.CreateModel(
            name="Console",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
            ],
            options={
                "managed": False,
                "default_permissions": (),
                "permissions": (
                    ("view_console", "Can look at the live page of resilient_http"),
                    ("change_console", "Can throw the kill switches on the live page of resilient_http"),
                ),
                "verbose_name": "live page",
                "verbose_name_plural": "live page",
            },
        )
    ]
