"""The checks, in the order in which run.sh prints them."""

import sys
import time

from selenium.webdriver.common.keys import Keys

from browser import DESK, PHONE, Browser, Failed, until
from mock import Mock, fleet, worker
from router import Router

HOSTILE = "<img src=x onerror=document.title='owned'>"
# The page has three seconds to say that nothing comes any more; a tenth for the way to the browser and back.
SILENCE_LIMIT_S = 3.1
# A frame of 64 workers takes a twentieth of the time until the next, on a machine of CI that does all of this at once.
DRAW_LIMIT_MS = 50

CHECKS = []


def check(sentence, holds, detail=""):
    CHECKS.append(bool(holds))
    print(f"{'ok    ' if holds else 'FAILED'}  {sentence}{f': {detail}' if detail and not holds else ''}", flush=True)


def eventually(sentence, condition, limit=10.0):
    try:
        until(condition, sentence, limit)
        check(sentence, True)
    except Failed as failure:
        check(sentence, False, failure)


def connection(browser):
    return browser.text("#connection")


def await_live(browser):
    until(lambda: connection(browser) in ("live", "connected again"), "a frame arrives")


def drawn_points(browser, chart, path):
    """How many corners a line of a chart has."""
    return browser.run(f"""
        const drawn = document.querySelector("#chart-{chart} {path}")?.getAttribute("d") ?? "";
        return drawn.split(/[ML]/).length - 1;""")


def check_live(browser, router):
    browser.size(*DESK)
    browser.prefer("light")
    browser.open(f"{router.url}/ui")
    await_live(browser)
    eventually("the split is said in words", lambda: browser.text("#split") == "2 prefill : 2 decode")
    check("before the first request the charts say so", browser.count(".no-data:not([hidden])") == 2)
    eventually("every worker has a card", lambda: browser.count(".card") == 4)
    before = browser.texts(".card .main .value")
    router.load()
    eventually("the cards' numbers follow the load", lambda: browser.texts(".card .main .value") != before)
    eventually("the charts of TTFT and ITL have points",
               lambda: drawn_points(browser, "ttft", ".line") > 3 and drawn_points(browser, "itl", ".line") > 3, 15)
    eventually("the ratio has points", lambda: drawn_points(browser, "ratio", ".edge") > 3)
    eventually("goodput is above zero", lambda: float(browser.text(".readouts div:nth-child(2) .value")) > 0)
    check("the journal says how the workers came to serve", any("serving" in text for text in browser.texts(".what")))
    bare = browser.run("""
        return [...document.querySelectorAll(".readouts .value, .card .value")]
          .filter((value) => value.textContent !== "–" && value.nextSibling.textContent === "").length;""")
    check("every number has its unit", bare == 0, f"{bare} have none")
    light = browser.run("return getComputedStyle(document.body).backgroundColor")
    browser.screenshot("desk-light")
    browser.prefer("dark")
    check("dark is dark", browser.run("return getComputedStyle(document.body).backgroundColor") != light)
    browser.screenshot("desk-dark")
    check("nothing is written to the console", not (said := browser.console()), said)


def check_pin(browser, router):
    said = lambda: browser.text("#steering span")
    check("without a pin the controller is said to be automatic", said() == "automatic: the controller moves workers",
          said())
    router.steer("2P2D")
    eventually("a split that an operator pins is said to be pinned",
               lambda: said().startswith("pinned to 2P2D by an operator since "))
    clock = browser.run("return clockTime(model.frame.controller.pinned.since)")
    check("with the time since when", said().endswith(f"since {clock}"), said())
    for theme in ("light", "dark"):
        browser.prefer(theme)
        browser.screenshot(f"pinned-{theme}")
    check_phone(browser, "pinned")
    router.steer("automatic")
    eventually("and automatic again when it is released", lambda: said() == "automatic: the controller moves workers")
    yesterday = browser.run("return steeringText({ pinned: { split: '3P1D', since: 1e9 - 86400 } }, 1e9)")
    check("a pin of another day is said with its date", "8 September, " in yesterday, yesterday)


def check_phone(browser, name):
    browser.size(*PHONE)
    browser.prefer("light")
    check(f"nothing is wider than a phone ({name})", not (wide := browser.too_wide()), wide)
    browser.screenshot(f"phone-{name}", whole=True)
    browser.size(*DESK)


def check_keyboard(browser):
    browser.run("document.activeElement.blur(); scrollTo(0, 0)")
    expected = browser.run("""
        window.tabbed = new Set();
        return [...document.querySelectorAll("a, button, input, [tabindex='0']")]
          .filter((node) => node.checkVisibility()).length;""")
    unseen = 0
    for _ in range(expected):
        browser.press(Keys.TAB)
        unseen += browser.run("""
            const node = document.activeElement;
            window.tabbed.add(node);
            const shown = [node, node.closest(".card") ?? node];
            return shown.some((one) => getComputedStyle(one).outlineStyle !== "none") ? 0 : 1;""")
    reached = browser.run("return window.tabbed.size")
    check("Tab reaches everything that can be used", reached == expected, f"{reached} of {expected}")
    check("the focus is always seen", unseen == 0, f"{unseen} without an outline")
    browser.run("document.querySelector('.card button').focus()")
    browser.press(Keys.ENTER)
    check("Enter opens a card", browser.count(".card[data-open=true] .details dt") > 10)
    browser.press(Keys.ENTER)
    browser.run("document.querySelector('#look-back').focus()")
    browser.press(Keys.ARROW_LEFT)
    eventually("an arrow key looks back in time", lambda: "ago" in browser.text("#look-back-at"))
    browser.press(Keys.END)


def check_outage(browser, router):
    await_live(browser)
    points = drawn_points(browser, "queue", ".line")
    router.kill()
    eventually("a killed router is noticed", lambda: connection(browser) == "connection lost", SILENCE_LIMIT_S)
    eventually("the age of the data is shown", lambda: "data is 2 s old" in browser.text("#connection-age"), 5)
    eventually("old data is dimmed", lambda: float(browser.run("return getComputedStyle(board).opacity")) < 0.6)
    browser.screenshot("lost-router")
    router.start()
    eventually("it says when the router is back", lambda: connection(browser) == "connected again", 8)
    check("what was seen before the outage stays", drawn_points(browser, "queue", ".line") >= points)
    refused = [text for text in browser.console() if "Failed to load resource" not in text]
    check("an outage writes nothing of its own to the console", not refused, refused)


def check_silence(browser, mock):
    await_live(browser)
    mock.silent.set()
    eventually("an open connection that goes silent is noticed", lambda: connection(browser) == "connection lost",
               SILENCE_LIMIT_S + 1)  # and the second until the frame that does not come
    for theme in ("light", "dark"):
        browser.prefer(theme)
        browser.screenshot(f"lost-{theme}")
    mock.silent.clear()
    eventually("and that it speaks again", lambda: connection(browser) == "connected again", 8)


def check_transition(browser, mock):
    moving = mock.workers[2]
    mock.log("decision", change=("2:2", "3:1"), reason="prefill at 91 %, decode at 38 %")
    mock.log("state", worker=moving["url"], change=("serving", "draining"))
    moving.update(state="draining", state_age_s=1.0)
    mock.controller.update(state="moving", target={"prefill": 3, "decode": 1}, reason="prefill_short")
    browser.prefer("light")
    eventually("a transition shows, with its step", lambda: browser.text("#moves .now") == "draining", 3)
    check("and on its card, by shape and word",
          browser.count(".card[data-look=changing] use[href='#icon-draining']") == 1
          and browser.text(".card[data-look=changing] .state span") == "draining")
    check("and in the split", browser.text("#split") == "2 prefill : 1 decode", browser.text("#split"))
    check("the journal gives the reason", any("prefill at 91 %" in text for text in browser.texts(".what")))
    browser.screenshot("transition-light", whole=True)
    mock.controller.update(mode="dry_run")
    eventually("a controller that only advises says so",
               lambda: browser.text("#steering span").startswith("dry run"), 3)
    mock.controller.update(mode="automatic")
    moving.update(state="serving", role="prefill")
    mock.log("role", worker=moving["url"], change=("decode", "prefill"))
    eventually("then the card is in its new group", lambda: browser.count(".group[data-role=prefill] .card") == 3, 3)
    eventually("and the change is marked in the charts", lambda: browser.count(".move:not([display])") == 12, 3)


def check_hostile(browser, mock):
    mock.workers[0].update(state="failed", url=f"http://{HOSTILE}", trouble=HOSTILE, breaker="open")
    mock.log("state", worker=f"http://{HOSTILE}", change=("serving", "failed"), reason=HOSTILE)
    mock.log(HOSTILE, reason=HOSTILE)
    eventually("text from outside is shown", lambda: HOSTILE in browser.text(".trouble"), 3)
    check("and stays text", browser.count("img") == 0 and "owned" not in browser.run("return document.title"))


def check_states(browser, mock):
    states = ["starting", "serving", "draining", "switching", "verifying", "unhealthy", "failed"]
    mock.workers[:] = [worker(place, "decode", state=state, reading=place != 1) for place, state in enumerate(states)]
    eventually("every state has its word", lambda: browser.texts(".card .state span:first-of-type") == states, 3)
    shapes = browser.run("""
        return [...document.querySelectorAll(".card .state use")].map((use) => use.getAttribute("href"));""")
    check("and its shape", shapes == [f"#icon-{state}" for state in states], shapes)
    check("a worker without a reading says so", "no reading" in browser.texts(".card .age"))
    browser.screenshot("states-light", whole=True)


def check_empty(browser, mock):
    mock.busy = False
    mock.workers.clear()
    mock.controller.update(state="off", mode=None, target=None, reason=None)
    eventually("without a controller the page says that the ratio is fixed",
               lambda: browser.text("#controller") == "no controller: the ratio is fixed", 3)
    check("and nothing of who steers it", not browser.run("return steering.checkVisibility()"))
    eventually("a fleet without workers says so", lambda: browser.texts(".group small") == ["no workers"] * 2, 3)
    browser.screenshot("empty-light")


def check_many(browser, mock):
    eventually("64 workers have 64 cards", lambda: browser.count(".card") == 64)
    check("on one host they are told apart by their ports", browser.text(".card button") == ":30000")
    browser.run("window.first = document.querySelector('.card'); window.seen = model.frame.at")
    eventually("frames arrive", lambda: browser.run("return model.frame.at > window.seen"))
    check("a frame changes the cards and does not make them anew",
          browser.run("return window.first === document.querySelector('.card')"))
    took = browser.run("""
        const start = performance.now();
        for (let frame = 0; frame < 20; frame += 1) draw();
        return (performance.now() - start) / 20;""")
    check(f"a frame of 64 workers is drawn in {took:.1f} ms", took < DRAW_LIMIT_MS, f"limit {DRAW_LIMIT_MS} ms")
    for theme in ("light", "dark"):
        browser.prefer(theme)
        browser.screenshot(f"many-{theme}", whole=True)
    check_phone(browser, "many")


def check_key(browser, mock):
    mock.key = "secret"
    browser.open(mock.url)
    eventually("a router with a key makes the page ask for it", lambda: browser.run("return key.checkVisibility()"), 5)
    browser.press("wrong" + Keys.ENTER)
    eventually("a wrong key is refused", lambda: browser.text("#key-refused") == "The router refuses this key.")
    browser.press("secret" + Keys.ENTER)
    eventually("the right key is taken", lambda: connection(browser) == "live")
    check("the key form is gone", not browser.run("return key.checkVisibility()"))


def check_motion(browser):
    browser.prefer("light", motion="reduce")
    moving = browser.run("""
        return [...document.querySelectorAll("*")].filter((node) => {
          const { transitionDuration, animationName } = getComputedStyle(node);
          return transitionDuration !== "0s" || animationName !== "none";
        }).length;""")
    check("nothing moves for those who want no motion", moving == 0, f"{moving} nodes move")
    browser.prefer("light")


def main(screenshots):
    started = time.monotonic()
    with Browser(screenshots) as browser, Router() as router:
        page, headers = router.page()
        check_live(browser, router)
        check_phone(browser, "router")
        check_pin(browser, router)
        check_keyboard(browser)
        check_outage(browser, router)
        with Mock(page, headers, fleet(2, 2)) as mock:
            mock.remember_a_change()
            browser.open(mock.url)
            await_live(browser)
            check_motion(browser)
            check_silence(browser, mock)
            check_transition(browser, mock)
            check_hostile(browser, mock)
            check_states(browser, mock)
            check_empty(browser, mock)
            check("nothing was written to the console", not (said := browser.console()), said)
            check_key(browser, mock)
            browser.leave()
        with Mock(page, headers, fleet(24, 40)) as mock:
            browser.open(mock.url)
            check_many(browser, mock)
            check("nothing was written to the console", not (said := browser.console()), said)
    failed = CHECKS.count(False)
    print(f"{len(CHECKS)} checks, {failed} failed, {time.monotonic() - started:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
