"""SRV: the targets of a service. Those of the lowest priority are the nodes, all others are backups.

A weight of 0 is a small one, as RFC 2782 has it, but where all of a priority have none. A target of "." says that the
service is not to be had. With a resolver of one's own, targets are looked up there: in the answer's additional section
(Consul puts them there), or by a question of their own; what cannot be looked up keeps its last addresses.

Source: RFC 2782.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from resilient_http.settings.discovery import SrvSettings
from resilient_http.upstreams.sources.dns import Asking, Records, bounded, url
from resilient_http.upstreams.sources.source import Discovered, SourceFailed

LEAST = 0.1  # weight


class Srv:
    """The SRV records of a name. A DiscoverySource.

    Args:
        settings: The name, and whom to ask.
        timeout: Seconds for one question.
    """

    def __init__(self, settings: SrvSettings, timeout: float) -> None:
        self._settings = settings
        self._ask = Asking(settings.resolver, timeout)
        self._known: dict[str, list[str]] = {}

    def resolve(self) -> Discovered:
        """Its targets."""
        own = self._settings
        records = self._ask(own.name, "SRV")
        targets = sorted(
            (record for record in records if str(record.target) != "."),
            key=lambda record: (record.priority, str(record.target), record.port),
        )
        if not targets:
            raise SourceFailed("the service is not to be had there" if records else "the name has no SRV record")
        ttls, found = [records.ttl], []
        for record in targets:
            hosts, ttl = self._hosts(str(record.target), records)
            ttls.append(ttl)
            backup = record.priority > targets[0].priority
            weight = _weight(record, targets) / max(1, len(hosts))
            found += [{"url": url(own.scheme, host, record.port), "weight": weight, "backup": backup} for host in hosts]
        if not found:
            raise SourceFailed("none of the targets has an address")
        return Discovered(found, bounded(own, min(ttls)))

    def _hosts(self, target: str, records: Records) -> tuple[Sequence[str], float]:
        """What a target is reached at, and for how many seconds that holds."""
        if not self._settings.resolver:
            return [target.removesuffix(".")], records.ttl
        known = [each for each in records.more.additional if str(each.name) == target and each.rdtype in (1, 28)]
        if known:
            self._known[target] = [record.address for each in known for record in each]
            return self._known[target], min(each.ttl for each in known)
        addresses, ttls = [], []
        for family in ("A", "AAAA"):
            try:
                answer = self._ask(target, family)
            except SourceFailed:
                continue
            addresses += [record.address for record in answer]
            ttls.append(answer.ttl)
        if addresses:
            self._known[target] = addresses
        return self._known.get(target, ()), min(ttls, default=0.0)


def _weight(record: Any, targets: Sequence[Any]) -> float:
    if all(other.weight == 0 for other in targets if other.priority == record.priority):
        return 1.0
    return float(record.weight) or LEAST
