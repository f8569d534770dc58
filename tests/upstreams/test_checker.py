"""Checker: what a check says while settings change."""

from __future__ import annotations

import random

from resilient_http.events import EndpointUnhealthy, Hub
from resilient_http.settings.models import Settings
from resilient_http.upstreams.checker import Checker
from resilient_http.upstreams.nodes import Nodes
from tests.builds import as_it_stands


class Upstream:
    """What a checker looks at of one."""

    name = "payments"

    def __init__(self):
        urls = ["http://n1", "http://n2"]
        self.told = {"endpoints": urls, "health": {"path": "/", "unhealthy_after": 1}}
        self.settings = Settings(upstreams={"payments": self.told}).upstreams["payments"]
        self.nodes = Nodes("payments", self.settings, Hub())
        self.endpoints = self.nodes.endpoints

    def switch_checks_off(self):
        settings = Settings(upstreams={"payments": {**self.told, "health": None}}).upstreams["payments"]
        self.nodes.adjust(settings, 1.0, zone=None)


@as_it_stands
def test_nobody_stays_left_alone_for_a_check_that_ended_as_checks_were_switched_off():
    upstream, events = Upstream(), []
    checker = Checker([upstream], Hub([events.append]), random.Random(1))
    member = upstream.endpoints.members[0]
    record = member.health.record

    class Slow:
        """The health of the member, while another thread switches checks off."""

        def record(self, why, now):
            changed = record(why, now)
            upstream.switch_checks_off()
            return changed

        healthy = False

    member.health = Slow()
    checker._note(upstream, member, "status 503", 1.0)
    assert isinstance(events[-1], EndpointUnhealthy)
    assert upstream.endpoints.ejections.out(1.0) == set()
