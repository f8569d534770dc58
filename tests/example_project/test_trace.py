"""The waterfall of a checkout: made of what the SDK itself writes down."""

import time
from xml.etree import ElementTree as ET

import pytest
from opentelemetry import trace as api
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from example_project.trace import most_telling, traces
from example_project.waterfall import as_svg, as_text

MILLISECOND = 1_000_000


class Services:
    """Two services that write their spans down."""

    def __init__(self, directory):
        self._files = []
        self._tracers = {name: self._tracer(name, directory) for name in ("shop", "pricing")}
        self.epoch = time.time_ns()

    def _tracer(self, name, directory):
        file = (directory / f"{name}.spans").open("w")
        self._files.append(file)
        provider = TracerProvider(resource=Resource.create({"service.name": name}))
        exporter = ConsoleSpanExporter(out=file, formatter=lambda span: f"{span.to_json(indent=None)}\n")
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        return provider.get_tracer("test")

    def close(self):
        for file in self._files:
            file.close()

    def checkout(self, *, retries, status=200):
        """One of 100 ms, whose first attempt takes 40."""
        shop = self._begin("shop", "GET pricing", 0)
        for number in range(retries):
            attempt = self._begin("shop", "GET", 10 * number, shop, api.SpanKind.CLIENT)
            attempt.set_attribute("error.type", "ReadTimeout <slow>")
            attempt.set_status(api.StatusCode.ERROR)
            attempt.end(self.epoch + 40 * MILLISECOND)
            values = {"resilient_http.why": "timeout <&>", "resilient_http.delay": 0.02}
            shop.add_event("resilient_http.retry", values, self.epoch + 40 * MILLISECOND)
        pricing = self._begin("pricing", "GET", 60, shop, api.SpanKind.SERVER)
        pricing.end(self.epoch + 90 * MILLISECOND)
        shop.set_attribute("http.response.status_code", status)
        if status >= 400:
            shop.set_status(api.StatusCode.ERROR)
        shop.end(self.epoch + 100 * MILLISECOND)
        return f"{shop.get_span_context().trace_id:032x}"

    def _begin(self, service, name, at, parent=None, kind=api.SpanKind.INTERNAL):
        context = None if parent is None else api.set_span_in_context(parent)
        return self._tracers[service].start_span(name, context, kind, start_time=self.epoch + at * MILLISECOND)


@pytest.fixture
def services(tmp_path):
    made = Services(tmp_path)
    yield made
    made.close()


def test_the_checkout_that_took_most_repeats_and_ended_well_is_shown(services, tmp_path):
    services.checkout(retries=0)
    services.checkout(retries=1)
    most = services.checkout(retries=2)
    services.checkout(retries=3, status=503)
    assert most_telling(tmp_path).number == most


def test_where_none_was_degraded_there_is_none(services, tmp_path):
    assert most_telling(tmp_path) is None
    services.checkout(retries=0)
    assert most_telling(tmp_path) is None


def test_what_a_killed_process_left_half_written_is_left_out(services, tmp_path):
    services.checkout(retries=1)
    (tmp_path / "killed.spans").write_text('{"name": "GET", "conte')
    assert len(traces(tmp_path)) == 1


def test_the_waterfall_shows_who_waited_for_whom_and_when(services, tmp_path):
    number = services.checkout(retries=1)
    title, *lines = as_text(most_telling(tmp_path))
    assert title.split() == ["trace", number, "0", "ms", "100", "ms"]
    shop, moment, attempt, pricing = lines
    assert shop.startswith("shop: GET pricing 200")
    assert shop.endswith("100 ms")
    assert moment.strip() == "at 40 ms, retry: timeout <&>, in 20 ms"
    assert attempt.count("x") == pytest.approx(0.4 * 48, abs=1)
    assert pricing.index("=") - shop.index("=") == pytest.approx(0.6 * 48, abs=1)


def test_the_picture_is_well_formed_whatever_stands_in_it(services, tmp_path):
    services.checkout(retries=1)
    root = ET.fromstring(as_svg(most_telling(tmp_path)))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "shop: GET ReadTimeout <slow>" in texts
    assert "at 40 ms, retry: timeout <&>, in 20 ms" in texts
