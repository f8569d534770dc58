"""Remote: the console of another process, asked over HTTP; see web.py for what it answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from resilient_http.console.foreign import understood
from resilient_http.console.plain import plain

WAIT = 5.0  # seconds for each answer
TOKEN = "RESILIENT_HTTP_CONSOLE__TOKEN"  # noqa: S105 - the variable that the settings read it from too
SNAPSHOT = {"upstreams": dict, "degraded": list, "processes": list}
DONE = {"by": str, "reaches": str}


class NoConsoleError(OSError):
    """There is no answer of a console: the message says why, and what to do."""


class Remote:
    """A live page, by its address. A context manager; for one thread.

    Args:
        url: Where it is mounted, like "http://127.0.0.1:8000/resilience/".
        token: That of the settings there (`console.token`), or None.
        headers: Sent too, for whoever guards it otherwise: "cookie", say.

    Raises:
        NoConsoleError: The address is none, or a header cannot be sent.
    """

    def __init__(self, url: str, token: str | None = None, headers: Iterable[tuple[str, str]] = ()) -> None:
        lines = [("accept", "application/json"), *headers]
        if token is not None:
            lines.append(("authorization", f"Bearer {token}"))
        try:
            address = httpx.URL(url.rstrip("/") + "/")
        except httpx.InvalidURL as exc:
            message = f"{url!r} is no URL: {exc}"
            raise NoConsoleError(message) from None
        if address.scheme not in ("http", "https") or not address.host:
            message = f"{url!r} is no address of a live page: one like http://127.0.0.1:8000/resilience/ is needed"
            raise NoConsoleError(message)
        self._shown = str(address.copy_with(userinfo=b""))
        try:
            self._client = httpx.Client(base_url=address, headers=lines, timeout=WAIT)
        except UnicodeEncodeError:
            message = f"the token ({TOKEN}), or a header, has a letter that is not ASCII, and cannot be sent"
            raise NoConsoleError(message) from None

    def snapshot(self, process: str = "all") -> dict[str, Any]:
        """How everything stands, as far as it is understood: see foreign.py.

        Args:
            process: Id of the one process that it is of, or "all".

        Raises:
            NoConsoleError: There is no answer.
        """
        return understood(self._asked(SNAPSHOT, "GET", "snapshot.json", params={"process": process}))

    def act(self, action: Mapping[str, Any], by: str = "") -> dict[str, Any]:
        """Do something; see actions.py.

        Args:
            action: What.
            by: Who does it.

        Raises:
            NoConsoleError: There is no answer, or it was refused.
        """
        return self._asked(DONE, "POST", "actions", json={**action, "by": by})

    def close(self) -> None:
        """Close its connection."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _asked(self, shape: Mapping[str, type], method: str, path: str, **more: Any) -> dict[str, Any]:
        try:
            response = self._client.request(method, path, **more)
        except httpx.HTTPError as exc:
            message = f"{self._shown} does not answer: {type(exc).__name__}: {exc}"
            raise NoConsoleError(message) from None
        told = _told(response)
        if response.status_code == httpx.codes.OK:
            if told is not None and _has(told, shape):
                return told
            told = None
        raise NoConsoleError(self._refusal(response.status_code, told))

    def _refusal(self, status: int, told: dict[str, Any] | None) -> str:
        why = "" if told is None else f": {told.get('error') or told.get('detail') or told}"
        if status in (401, 403) or 300 <= status < 400:
            return f"{self._shown} lets nobody in without a token ({status}{why}); set {TOKEN} to its console.token"
        if told is None or (status == httpx.codes.NOT_FOUND and "error" not in told):
            return f"{self._shown} is no live page ({status}{why}); see docs/live-page.md for how to mount one"
        return f"{self._shown} refuses it ({status}){why}"


def _told(response: httpx.Response) -> dict[str, Any] | None:
    """The JSON object that was answered, as plain text; or None."""
    try:
        told = plain(response.json())
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _has(told: dict[str, Any], shape: Mapping[str, type]) -> bool:
    return all(isinstance(told.get(key), kind) for key, kind in shape.items())
