"""The settings of middleware."""

from __future__ import annotations

from resilient_http.settings.validation import Model
from resilient_http.settings.values import Middleware


class MiddlewareSettings(Model):
    """Behaviour that the user adds: async functions, or dotted paths of such, the outermost first.

    Attributes:
        call: Each is `async def (call, proceed)`, around a call: repeats included, the fallback not.
        attempt: Each is `async def (attempt, proceed)`, around each attempt as it is sent.
    """

    call: tuple[Middleware, ...] = ()
    attempt: tuple[Middleware, ...] = ()
