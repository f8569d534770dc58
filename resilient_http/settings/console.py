"""The settings of the live page. Durations are float seconds."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from resilient_http.settings.keys import SECONDS
from resilient_http.settings.validation import Model, not_bool
from resilient_http.settings.values import Count, SecretValue

SHORTEST_TOKEN = 16  # characters; what is shorter can be guessed

Span = Annotated[float, BeforeValidator(not_bool), Field(ge=60, le=3600, allow_inf_nan=False), SECONDS]


def _is_long_enough(token: SecretStr) -> SecretStr:
    if len(token.get_secret_value()) < SHORTEST_TOKEN:
        message = f"at least {SHORTEST_TOKEN} characters are needed; make one with: openssl rand -hex 24"
        raise ValueError(message)
    return token


class ConsoleSettings(Model):
    """The live page, and what the command line asks of it; nothing of it runs where it is not mounted.

    Attributes:
        token: Secret that lets in who sends it as `Authorization: Bearer ...`, to look and to act, as the command line
            does. None for nobody. At least 16 characters.
        actions: Whether kill switches can be thrown there; false for a page that only shows.
        span: Seconds that the charts go back.
        degraded: The last degraded calls that are kept, with their journals.
    """

    token: Annotated[SecretValue, AfterValidator(_is_long_enough)] | None = None
    actions: bool = True
    span: Span = 300.0
    degraded: Count = 50
