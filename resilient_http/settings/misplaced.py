"""The settings of calls that are made where they hold up more than their own caller."""

from __future__ import annotations

from typing import Literal

from resilient_http.settings.validation import Model

Reaction = Literal["ignore", "warn", "refuse"]


class MisplacedSettings(Model):
    """What is done about calls that are made where they hold up more than their own caller.

    Attributes:
        in_transaction: A call inside a database transaction (Django's `transaction.atomic()`), whose locks and
            connection are held until it is answered: "warn" (a line in the log, once per view), "refuse" (it raises
            MisplacedCall) or "ignore".
        in_event_loop: A call of a sync client in a thread that runs an event loop, in which nothing else runs until it
            is answered: "warn" (once per line of code), "refuse" or "ignore".
    """

    in_transaction: Reaction = "warn"
    in_event_loop: Reaction = "warn"


UNNOTICED = MisplacedSettings(in_transaction="ignore", in_event_loop="ignore")
