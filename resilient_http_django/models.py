"""Models: none that is kept. The permissions of the live page need something that they are permissions of."""

from django.db import models


class Console(models.Model):
    """The live page; it has no table. Its permissions are given as any, in the admin."""

    class Meta:
        """No table, no permissions but the page's own."""

        managed = False
        default_permissions = ()
        permissions = (
            ("view_console", "Can look at the live page of resilient_http"),
            ("change_console", "Can throw the kill switches on the live page of resilient_http"),
        )
        verbose_name = "live page"
        verbose_name_plural = "live page"

    def __str__(self) -> str:
        return "live page"
