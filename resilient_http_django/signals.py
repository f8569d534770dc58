"""Signals: what happened at an upstream, as Django's signals.

    from resilient_http_django.signals import circuit_opened

    @receiver(circuit_opened)
    def page_somebody(sender, event, **kwargs): ...

`event` is the record of resilient_http.events, and `sender` its class. A receiver runs in the thread or task of the
call (what is found out beside calls: in a thread of its own), so it must be quick. One that raises is logged by Django
("django.dispatch"), and breaks nothing. While no receiver is connected, nothing is done for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.dispatch import Signal

from resilient_http_django.conf import listen, stop_listening


class EventSignal(Signal):
    """A signal that has the events of the process listened to as long as it has a receiver. Thread-safe."""

    def connect(
        self, receiver: Callable[..., Any], sender: object = None, weak: bool = True, dispatch_uid: Any = None
    ) -> None:
        """As Django's.

        Raises:
            TypeError: The receiver is a coroutine function. Events come from threads and event loops alike, and wait
                for nobody.
        """
        if iscoroutinefunction(receiver):
            message = f"{receiver!r} is async, but receivers of resilient_http's signals are plain functions"
            raise TypeError(message)
        super().connect(receiver, sender, weak, dispatch_uid)
        listen(tell)

    def disconnect(self, receiver: Any = None, sender: object = None, dispatch_uid: Any = None) -> bool:
        """As Django's."""
        found = super().disconnect(receiver, sender, dispatch_uid)
        if not _is_anybody_there():
            stop_listening(tell)
            if _is_anybody_there():  # connected meanwhile, in another thread
                listen(tell)
        return found


circuit_opened = EventSignal()
circuit_half_opened = EventSignal()
circuit_closed = EventSignal()
call_degraded = EventSignal()
fallback_used = EventSignal()
endpoint_paused = EventSignal()
route_paused = EventSignal()
endpoint_unhealthy = EventSignal()
endpoint_healthy = EventSignal()
endpoints_changed = EventSignal()
panic_began = EventSignal()
panic_ended = EventSignal()
discovery_failed = EventSignal()
discovery_held = EventSignal()
discovery_restored = EventSignal()
sharing_lost = EventSignal()
sharing_restored = EventSignal()
settings_reloaded = EventSignal()
reload_rejected = EventSignal()
watch_failed = EventSignal()
watch_restored = EventSignal()
switch_thrown = EventSignal()
switch_ended = EventSignal()
stalled = EventSignal()
stream_reclaimed = EventSignal()
fault_injected = EventSignal()

OF_EVENTS = {
    "CircuitOpened": circuit_opened,
    "CircuitHalfOpened": circuit_half_opened,
    "CircuitClosed": circuit_closed,
    "FallbackUsed": fallback_used,
    "EndpointPaused": endpoint_paused,
    "RoutePaused": route_paused,
    "EndpointUnhealthy": endpoint_unhealthy,
    "EndpointHealthy": endpoint_healthy,
    "EndpointsChanged": endpoints_changed,
    "PanicBegan": panic_began,
    "PanicEnded": panic_ended,
    "DiscoveryFailed": discovery_failed,
    "DiscoveryHeld": discovery_held,
    "DiscoveryRestored": discovery_restored,
    "SharingLost": sharing_lost,
    "SharingRestored": sharing_restored,
    "SettingsReloaded": settings_reloaded,
    "ReloadRejected": reload_rejected,
    "WatchFailed": watch_failed,
    "WatchRestored": watch_restored,
    "SwitchThrown": switch_thrown,
    "SwitchEnded": switch_ended,
    "Stalled": stalled,
    "StreamReclaimed": stream_reclaimed,
    "FaultInjected": fault_injected,
}
"""The signal of each event that an operator cares for; call_degraded has those of CallFinished that were degraded."""


def tell(event: Any) -> None:
    """Send the signal of an event, if it has one."""
    kind = type(event)
    signal = call_degraded if getattr(event, "degraded", None) is not None else OF_EVENTS.get(kind.__name__)
    if signal is not None:
        signal.send_robust(sender=kind, event=event)


def _is_anybody_there() -> bool:
    return any(signal.has_listeners() for signal in (*OF_EVENTS.values(), call_degraded))
