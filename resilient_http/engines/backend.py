"""Backend: httpx, or its successor httpx2. The one place that knows their exceptions.

Both have the same API with distinct classes. Which one is used is an explicit setting, never a guess by what is
importable: they trust different certificates. Our own exceptions inherit httpx's; over httpx2 they inherit both.
"""

from __future__ import annotations

import errno
import functools
import importlib
import ssl
from collections.abc import Iterator
from typing import Any

from resilient_http import errors
from resilient_http.state.outcome import Fault

FAULTS = {
    "ConnectTimeout": Fault.TIMEOUT,
    "ReadTimeout": Fault.TIMEOUT,
    "WriteTimeout": Fault.TIMEOUT,
    "PoolTimeout": Fault.LOCAL,
    "ConnectError": Fault.UNREACHABLE,
    "ProxyError": Fault.UNREACHABLE,
    "UnsupportedProtocol": Fault.INVALID,
    "LocalProtocolError": Fault.INVALID,
    "NetworkError": Fault.BROKEN,
    "RemoteProtocolError": Fault.BROKEN,
    "InvalidURL": Fault.INVALID,
    "StreamError": Fault.INVALID,
}
NEVER_SENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol"})
OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM})


class Backend:
    """httpx or httpx2, and what the rest must know of it.

    Args:
        name: "httpx" or "httpx2".

    Raises:
        SettingsError: The package is not installed.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        try:
            self.module: Any = importlib.import_module(name)
            self.core: Any = importlib.import_module({"httpx": "httpcore", "httpx2": "httpcore2"}[name])
        except ImportError as exc:
            message = f'backend is "{name}", which is not installed: pip install "resilient-http[{name}]"'
            raise errors.SettingsError(message, path="backend", value=name) from exc
        self.errors = _errors_over(self.module)

    def fault_of(self, error: BaseException) -> Fault:
        """What kind of failure an exception of an engine is."""
        if not isinstance(error, Exception) or isinstance(error, errors.Cancelled):
            return Fault.CANCELLED
        kind: Any = type(error)
        fault = _fault_of_type(kind)
        if fault is Fault.UNREACHABLE:
            return _why_unreachable(error)
        return fault

    def dress(self, error: Exception) -> Exception:
        """Our own exception as one that also inherits this backend's classes; any other as it is."""
        dressed = self.errors.get(type(error).__name__)
        if dressed is None or type(error).__module__ != errors.__name__ or dressed is type(error):
            return error
        other: Exception = dressed(*error.args)
        other.__dict__.update(error.__dict__)
        other.__cause__, other.__suppress_context__ = error.__cause__, True
        return other.with_traceback(error.__traceback__)


@functools.cache
def load_backend(name: str) -> Backend:
    """The backend of that name; one object per process."""
    return Backend(name)


def never_sent(error: BaseException) -> bool:
    """Whether the exception itself proves that nothing was sent, for engines that are not ours to watch."""
    return any(kind.__name__ in NEVER_SENT for kind in type(error).__mro__)


@functools.cache
def _fault_of_type(kind: type[BaseException]) -> Fault:
    for base in kind.__mro__:
        if base.__module__.split(".")[0] in ("httpx", "httpx2") and base.__name__ in FAULTS:
            return FAULTS[base.__name__]
    return Fault.FOREIGN


def _why_unreachable(error: BaseException) -> Fault:
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Fault.UNTRUSTED
        if isinstance(cause, OSError) and cause.errno in OUT_OF_RESOURCES:
            return Fault.LOCAL
    return Fault.UNREACHABLE


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else None
        error = inner or error.__cause__ or error.__context__


def _errors_over(module: Any) -> dict[str, type[Exception]]:
    """Our exceptions for one backend: httpx's are inherited already; for httpx2 each gets its counterpart too."""
    own: dict[str, type[Exception]] = {
        kind.__name__: kind
        for kind in (
            errors.Refused, errors.CircuitOpen, errors.RateLimited, errors.Saturated, errors.NoEndpoint,
            errors.DeadlineExceeded, errors.Cancelled,
        )
    }  # fmt: skip
    if module.__name__ == "httpx":
        return own
    home = {"__module__": f"resilient_http.{module.__name__}"}
    over: dict[str, type[Exception]] = {}
    for name, kind in own.items():
        theirs: tuple[type, ...]
        if name == "DeadlineExceeded":
            theirs = (module.TimeoutException,)
        elif name == "Saturated":
            theirs = (over["Refused"], module.PoolTimeout)
        elif name in ("Refused", "Cancelled"):
            theirs = (module.TransportError,)
        else:
            theirs = (over["Refused"],)
        over[name] = type(name, (kind, *theirs), {**home, "__doc__": kind.__doc__})
    return over
