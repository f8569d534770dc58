"""The live page in a real Chromium, from a real uvicorn whose upstreams are real servers."""

from __future__ import annotations

import json
import time

import httpx
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from tests.live.processes import served
from tests.live.servers import FaultServer, answer

UVICORN = ["uvicorn", "--fd", "FD", "tests.console.service:app"]
HOSTILE = "<img src=x onerror=\"document.title='broken'\">"
QUICK = {"backoff": {"base": 0.02, "throttled_base": 0.02}}


class Shop:
    """The service, and what its upstreams answer."""

    def __init__(self, url):
        self.url = url
        self.page = f"{url}/resilience/"
        self.console = httpx.Client(base_url=self.page)

    def call(self, upstream, times=1):
        for _ in range(times):
            httpx.get(f"{self.url}/call/{upstream}", timeout=30)

    def snapshot(self):
        return self.console.get("snapshot.json").json()

    def switches(self, name):
        return [each["what"] for each in self.snapshot()["upstreams"][name]["switches"]]

    def lift(self):
        for name in ("payments", "stock", "*"):
            self.console.post("actions", json={"upstream": name, "what": "lift", "by": "a test"})


@pytest.fixture(scope="module")
def shop():
    with FaultServer(answer(503, "busy")) as ill, FaultServer(answer(200, "ok")) as well:
        upstreams = {
            "payments": {"endpoints": [ill.url], "retry": QUICK},
            "stock": {"endpoints": [well.url], "retry": QUICK},
        }
        with served(UVICORN, {"RESILIENT_HTTP_UPSTREAMS": json.dumps(upstreams)}) as service:
            made = Shop(service.url)
            with made.console:
                made.call("payments", 2)
                made.call("stock", 5)
                yield made


@pytest.fixture(autouse=True)
def opened(browser, shop):
    """The page, on a desk, as it is when it is opened."""
    browser.wide()
    browser.prefers(color_scheme="light")
    browser.open(shop.page)
    browser.until(lambda: browser.text("#connection") == "live" and len(names(browser)) >= 2, "the page is live")
    browser.complaints()
    yield
    shop.lift()
    told = [each for each in browser.complaints() if "favicon" not in each]
    assert told == []


def names(browser):
    return browser.run(
        "return [...document.querySelectorAll('#rows > li:not([hidden]) .name b')].map((each) => each.textContent)"
    )


def row(name):
    return f"#rows > li:nth-child({name})"


def press(browser, *keys):
    ActionChains(browser.driver).send_keys(*keys).perform()


def focused(browser):
    return browser.run("const at = document.activeElement; return at.id || at.textContent.trim()")


def test_it_shows_what_is_in_trouble_first(browser, shop):
    assert names(browser)[0] == "payments"
    first = browser.text("#rows > li:first-child summary")
    assert "0.0 %" in first
    assert "not answered well" in first
    assert browser.run("return document.querySelector('#rows > li:first-child').className") == "much"
    assert "100 %" in browser.text("#rows > li:nth-child(2) summary")
    assert "process" in browser.text("#process")


def test_it_is_kept_up_to_date(browser, shop):
    before = browser.run("return [...state.upstreams.get('stock').series.calls].reduce((sum, each) => sum + each, 0)")
    shop.call("stock", 10)

    def seen():
        return browser.run("return state.upstreams.get('stock').traffic.calls") >= before + 10

    browser.until(seen, "ten calls more")
    assert browser.text("#connection") == "live"


def test_a_degraded_call_is_drawn_with_its_attempts_and_waits(browser, shop):
    call = browser.until(lambda: browser.all("#calls > li summary"), "a degraded call")[-1]  # the circuit was closed
    call.click()
    lines = browser.until(lambda: browser.all("#calls > li:last-child .waterfall > li"), "its waterfall")
    assert len(lines) == 3
    assert len(browser.all("#calls > li:last-child rect.bad")) == 3
    assert len(browser.all("#calls > li:last-child rect.wait")) == 2
    assert "status 503" in browser.text("#calls > li:last-child .waterfall")
    assert "4111-secret" not in browser.run("return document.documentElement.outerHTML")


def test_the_deadline_is_drawn_where_it_was_near(browser, shop):
    call = {
        "at": 1.0, "kind": "deadline", "status": None, "error": "DeadlineExceeded", "took": 1.0, "route": None,
        "upstream": "slow", "method": "GET", "budget": 1.0, "notes": [], "left_out": 0, "pid": 1, "host": "here",
        "attempts": [{"number": 1, "hedge": False, "endpoint": "http://n1", "started": 0.1, "queued": 0.2,
                      "duration": 0.7, "sent": True, "status": None, "error": "DeadlineExceeded: late",
                      "outcome": "neutral", "decision": "raise", "delay": 0, "why": ""}],
    }  # fmt: skip
    drawn = browser.run(
        "const made = waterfall(arguments[0]);"
        "return [...made.querySelectorAll('rect')].map((each) => [each.getAttribute('class'),"
        " Number(each.getAttribute('x')), Number(each.getAttribute('width'))])",
        call,
    )
    assert drawn == [["queued", 100, 200], ["bad", 300, 700], ["deadline", 997, 3]]


def test_the_search_leaves_what_fits_and_sorting_sorts(browser, shop):
    search = browser.find("#search")
    search.send_keys("STO")
    assert names(browser) == ["stock"]
    assert browser.text("#count") == "1 of 2"
    search.send_keys("xx")
    assert names(browser) == []
    assert browser.find("#none").is_displayed()
    search.clear()
    search.send_keys(" ")
    Select(browser.find("#sort")).select_by_value("name")
    assert names(browser) == ["payments", "stock"]
    Select(browser.find("#sort")).select_by_value("success")
    assert names(browser) == ["payments", "stock"]
    Select(browser.find("#sort")).select_by_value("rate")
    assert sorted(names(browser)) == ["payments", "stock"]


def test_an_upstream_opens_to_its_circuits_limits_and_settings(browser, shop):
    browser.find("#rows > li:first-child summary").click()
    inside = browser.until(lambda: browser.text("#rows > li:first-child .inside"), "it opens")
    for told in ("http://127.0.0.1", "concurrency", "0 of 100", "retry budget", "pool", "policies"):
        assert told in inside
    assert browser.run("return document.querySelectorAll('#rows > li:first-child .chart path').length") == 5
    browser.find("#rows > li:first-child .inside details summary").click()
    cells = browser.until(
        lambda: browser.run(
            "return [...document.querySelectorAll('#rows > li:first-child .inside details tr')]"
            ".map((each) => [...each.children].map((cell) => cell.textContent))"
        ),
        "the settings",
    )
    assert ["upstreams.payments.retry.max_attempts", "3", "defaults of the library"] in cells
    assert ["upstreams.payments.retry.backoff.base", "0.02", "environment RESILIENT_HTTP_UPSTREAMS"] in cells


def test_an_action_is_confirmed_before_anything_is_done(browser, shop):
    browser.find("#rows > li:first-child summary").click()
    browser.find("#rows > li:first-child .inside > button").click()
    Select(browser.find("#what")).select_by_value("shed")
    Select(browser.find("#seconds")).select_by_value("60")
    browser.find("#go").click()
    said = browser.until(lambda: browser.text("#confirm"), "it asks")
    assert said.startswith("50 % of the calls to payments are refused, or a fallback answers them, for 1 minute, in ")
    assert shop.switches("payments") == []
    browser.find("#cancel").click()
    assert shop.switches("payments") == []


def test_a_switch_is_thrown_and_lifted_by_keyboard_alone(browser, shop):
    browser.run("document.getElementById('switch-all').focus()")
    press(browser, Keys.TAB)
    assert "payments" in focused(browser)
    press(browser, Keys.ENTER)
    browser.until(lambda: browser.all("#rows > li:first-child .inside"), "it opens")
    press(browser, Keys.TAB, Keys.ENTER)
    browser.until(lambda: focused(browser) == "what", "the dialog has the focus")
    press(browser, Keys.TAB, Keys.TAB, Keys.TAB)
    assert focused(browser) == "go"
    press(browser, Keys.ENTER)
    assert browser.text("#confirm").startswith("No call to payments is repeated, for 5 minutes, in ")
    press(browser, Keys.TAB, Keys.TAB)
    assert focused(browser) == "go"
    press(browser, Keys.ENTER)
    browser.until(lambda: shop.switches("payments") == ["retries off"], "it is thrown")
    shown = browser.until(lambda: browser.text("#rows > li:first-child .switch"), "it is shown")
    assert "retries off" in shown
    assert "for 5 min more" in shown
    browser.until(lambda: "Done by somebody at 127.0.0.1" in browser.text("#said"), "it is said")
    browser.run("document.querySelector('#rows > li:first-child .switch button').focus()")
    press(browser, Keys.ENTER)
    assert browser.text("#confirm").startswith("retries off of payments is over at once")
    press(browser, Keys.ENTER)
    browser.until(lambda: shop.switches("payments") == [], "it is lifted")


def test_what_the_server_refuses_is_said(browser, shop):
    browser.run("dialog.open('no-such-upstream')")
    browser.find("#go").click()
    browser.find("#go").click()
    said = browser.until(lambda: browser.text("#failure"), "it is said")
    assert "no upstream 'no-such-upstream'" in said
    browser.find("#cancel").click()
    assert any("400" in each for each in browser.complaints())


def test_slash_goes_to_the_search_and_every_control_has_a_name(browser, shop):
    press(browser, "/")
    assert focused(browser) == "search"
    nameless = browser.run(
        "return [...document.querySelectorAll('button, input, select, [role=img]')].filter((each) =>"
        " !(each.textContent.trim() || each.labels?.length || each.getAttribute('aria-label')))"
        ".map((each) => each.outerHTML)"
    )
    assert nameless == []


def test_the_focus_can_be_seen(browser, shop):
    press(browser, "/")
    outline = browser.run("return getComputedStyle(document.activeElement).outlineWidth")
    assert outline == "3px"


def test_rows_do_not_move_under_who_is_among_them(browser, shop):
    Select(browser.find("#sort")).select_by_value("name")
    browser.run("document.querySelector('#rows > li:nth-child(2) summary').focus()")
    browser.run("document.getElementById('sort').value = 'success'; state.upstreams.get('stock').traffic.success = -1")
    time.sleep(2.5)
    assert names(browser) == ["payments", "stock"]


def test_it_can_be_paused(browser, shop):
    browser.find("#pause").click()
    assert browser.text("#connection") == "paused"
    before = browser.text("#clock")
    time.sleep(2.5)
    assert browser.text("#clock") == before
    browser.find("#pause").click()
    browser.until(lambda: browser.text("#connection") == "live", "it goes on")


def test_a_phone_needs_no_scrolling_sideways(browser, shop):
    browser.phone()
    browser.run("document.querySelector('#rows summary').click(); document.querySelector('#calls summary').click()")
    browser.until(lambda: browser.all(".waterfall") and browser.all(".inside"), "both are open")
    assert browser.run("return document.documentElement.scrollWidth") <= 390
    assert browser.run("return getComputedStyle(document.querySelector('.cell > .label')).position") == "static"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_can_be_read_in_light_and_dark(browser, shop, scheme):
    browser.prefers(color_scheme=scheme)
    browser.run("document.querySelector('#rows summary').click()")
    browser.find("#rows .inside")
    colors = browser.run(CONTRASTS)
    assert {pair["name"]: pair["ratio"] for pair in colors if pair["ratio"] < 4.5} == {}
    luminance = browser.run("return luminance(getComputedStyle(document.body).backgroundColor);" + LUMINANCE)
    assert (luminance < 0.2) == (scheme == "dark")


def test_what_others_say_is_never_markup(browser, shop):
    snapshot = shop.snapshot()
    payments = snapshot["upstreams"]["payments"]
    payments["trouble"]["why"] = [HOSTILE]
    payments["switches"] = [{"what": f"retries off {HOSTILE}", "by": HOSTILE, "for": 5}]
    payments["endpoints"][0] |= {"url": HOSTILE, "zone": HOSTILE}
    snapshot["processes"][0]["host"] = HOSTILE
    for call in snapshot["degraded"]:
        call |= {
            "upstream": HOSTILE,
            "error": HOSTILE,
            "method": HOSTILE,
            "notes": [HOSTILE],
            "route": f"GET {HOSTILE}",
        }
        for attempt in call["attempts"]:
            attempt |= {"error": HOSTILE, "endpoint": HOSTILE, "why": HOSTILE}
    snapshot["upstreams"] |= {HOSTILE: payments, "__proto__": payments, "constructor": payments}
    browser.find("#pause").click()
    browser.run("whole(JSON.parse(arguments[0]))", json.dumps(snapshot))
    browser.run("for (const each of document.querySelectorAll('details')) each.open = true")
    time.sleep(1.0)
    assert {HOSTILE, "__proto__", "constructor"} <= set(names(browser))
    assert browser.run("return document.querySelectorAll('img, iframe, script:not(:last-of-type)').length") == 0
    assert browser.driver.title == "resilient_http"
    browser.complaints()  # that the settings of such names cannot be had


def test_no_other_script_runs_even_where_one_gets_in(browser, shop):
    browser.run(
        "const made = document.createElement('div'); made.innerHTML = arguments[0]; document.body.append(made)", HOSTILE
    )
    time.sleep(0.5)
    assert browser.driver.title == "resilient_http"
    assert any("Content Security Policy" in each for each in browser.complaints())


def test_hundreds_of_upstreams_stay_usable(browser, shop):
    snapshot = shop.snapshot()
    payments = snapshot["upstreams"]["payments"]
    payments["series"] |= {key: [1] * 60 for key in ("calls", "bad", "p50", "p95", "p99")}
    snapshot["upstreams"] = {f"service-{number}": payments for number in range(300)}
    browser.find("#pause").click()
    took = browser.run(
        "const begun = performance.now(); whole(arguments[0]); document.body.offsetHeight;"
        "const made = performance.now();"
        "const some = Object.fromEntries(Object.entries(arguments[0].upstreams).map(([name, row]) =>"
        " [name, { traffic: { ...row.traffic, rate: 7 }, series: { ...row.series, end: 0 } }]));"
        "merge({ time: 1, upstreams: some }); document.body.offsetHeight;"
        "const merged = performance.now();"
        "document.getElementById('search').value = 'service-29'; arrange(true); document.body.offsetHeight;"
        "return [made - begun, merged - made, performance.now() - merged]",
        snapshot,
    )
    made, merged, searched = took
    assert len(names(browser)) == 11
    # Seconds would be felt; a machine of two cores that others use needs 0.2, 0.05 and 0.02.
    assert made < 3000
    assert merged < 700
    assert searched < 400


@pytest.mark.timeout(120)  # a stream that has begun goes on to its end
def test_a_lost_connection_is_told_and_found_again(browser, shop):
    browser.driver.execute_cdp_cmd("Network.enable", {})
    lost = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    browser.driver.execute_cdp_cmd("Network.emulateNetworkConditions", lost)  # the stream ends by itself in a while
    try:
        browser.until(lambda: "connection lost" in browser.text("#connection"), "it is told")
    finally:
        browser.driver.execute_cdp_cmd(
            "Network.emulateNetworkConditions",
            lost | {"offline": False, "downloadThroughput": -1, "uploadThroughput": -1},
        )
    browser.until(lambda: browser.text("#connection") == "live", "it is back by itself")
    browser.complaints()


LUMINANCE = """
function luminance(color) {
  const parts = color.match(/[\\d.]+/g).slice(0, 3).map((each) => {
    const share = Number(each) / 255;
    return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
}
"""
# WCAG 2.2, 1.4.3: contrast of at least 4.5 to 1.
CONTRASTS = f"""
{LUMINANCE}
function background(each) {{
  for (let at = each; at; at = at.parentElement) {{
    const color = getComputedStyle(at).backgroundColor;
    if (!/, 0\\)$/.test(color)) return color;
  }}
  return getComputedStyle(document.body).backgroundColor;
}}
return [...document.querySelectorAll("body *")].filter((each) =>
  [...each.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()) && each.checkVisibility()
).map((each) => {{
  const [one, other] = [luminance(getComputedStyle(each).color), luminance(background(each))];
  return {{ name: `${{each.tagName}}.${{each.className}} ${{each.textContent.slice(0, 30)}}`,
           ratio: (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05) }};
}});
"""
