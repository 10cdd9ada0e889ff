"""The page in Chromium: it loads without a fault, asks for nothing, fits a telephone, and obeys the keyboard."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from stockade.model.policy import Policy
from stockade.review.gather import Review

from .chromium import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


def faults(browser: Browser) -> list[str]:
    wrong = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Network.loadingFailed")
    return [json.dumps(event) for event in browser.events if event["method"] in wrong]


def asked(browser: Browser) -> list[str]:
    return [e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"]


CONTRAST = """
(() => {
  const parse = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length > 3 ? n : [...n, 1] }
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0)
  const behind = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor)
    if (c[3] === 1) return c } return [255, 255, 255] }
  const seen = {}
  const words = '.heat, .badge, .quiet, .place, summary, a, p, dt, small, .note, .column, .chips li, th, td'
  for (const e of document.querySelectorAll(words)) {
    const one = light(parse(getComputedStyle(e).color)), two = light(behind(e))
    const ratio = (Math.max(one, two) + .05) / (Math.min(one, two) + .05)
    const key = e.tagName + '.' + e.className
    seen[key] = Math.min(seen[key] ?? 99, ratio)
  }
  return seen
})()
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_loads_alone_and_can_be_read(browser: Browser, html: Path, scheme: str) -> None:
    browser.open(html, 1300, scheme=scheme)
    assert faults(browser) == []
    assert asked(browser) == [html.as_uri()]
    assert browser.ask("document.compatMode") == "CSS1Compat"
    paper = browser.ask("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(251, 251, 249)") == (scheme == "light")
    ratios = browser.ask(CONTRAST)
    assert len(ratios) > 15
    assert {name: round(ratio, 2) for name, ratio in ratios.items() if ratio < 4.5} == {}


def test_it_fits_a_telephone_with_everything_unfolded(browser: Browser, html: Path) -> None:
    browser.open(html, 390, 844)
    width = "document.documentElement.scrollWidth"
    assert browser.ask(width) == 390
    outside = (
        "[...document.querySelectorAll('section .heat, section .inside *')]"
        ".filter(e => !e.closest('.wide, .scroll') && e.offsetWidth > 0)"
        ".filter(e => e.getBoundingClientRect().right > e.closest('section').getBoundingClientRect().right - 10)"
        ".map(e => e.textContent.slice(0, 40))"
    )
    browser.ask("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert browser.ask(width) == 390
    assert browser.ask(outside) == []


def test_every_row_is_in_reach_of_the_keyboard(browser: Browser, html: Path) -> None:
    browser.open(html, 1300)
    said = "document.activeElement.tagName + ' ' + document.activeElement.textContent"
    browser.press("Tab", 9)
    assert browser.ask(said) == "A To the content"
    for _ in range(30):
        browser.press("Tab", 9)
        if browser.ask("document.activeElement.tagName") == "SUMMARY":
            break
    assert str(browser.ask(said)).startswith("SUMMARY admin")
    unfolded = "document.activeElement.parentElement.open"
    assert browser.ask(unfolded) is False
    browser.press("Enter", 13, "\r")
    assert browser.ask(unfolded) is True
    assert browser.ask("document.querySelectorAll('[tabindex]:not([tabindex=\"0\"]):not(main)').length") == 0
    assert browser.ask(
        "[...document.querySelectorAll('details')].every(d => d.firstElementChild.tagName === 'SUMMARY')"
    )


def test_links_lead_somewhere(browser: Browser, html: Path) -> None:
    browser.open(html, 1300)
    targets = "[...document.querySelectorAll('a')].map(a => a.getAttribute('href').slice(1))"
    assert browser.ask(f"{targets}.filter(name => !document.getElementById(name))") == []
    assert browser.ask(f"{targets}.length") > 9
    ids = "[...document.querySelectorAll('[id]')].map(e => e.id)"
    assert browser.ask(f"{ids}.length") == browser.ask(f"new Set({ids}).size")


def test_what_it_shows_is_what_the_bundle_says(browser: Browser, html: Path, review: Review, policy: Policy) -> None:
    browser.open(html, 1300)
    rows = browser.ask(
        "[...document.querySelectorAll('#stops .heatrow > summary')].map(s => [s.firstElementChild.textContent,"
        " [...s.querySelectorAll('.heat')].map(c => Number(c.lastChild.textContent))])"
    )
    matrix = review.matrix
    assert dict(rows) == {name: [matrix.layers(name, t) for t in matrix.types] for name in matrix.actions}
    table = (
        "[...document.querySelectorAll('#{} table:not(details table) tr')]"
        ".map(row => [...row.cells].map(field => field.innerText.trim()))"
    )
    head, *body = browser.ask(table.format("capabilities"))
    assert head[1:] == sorted(policy.containers)
    held = {(row[0], name) for row in body for name, field in zip(head[1:], row[1:], strict=True) if field != "–"}
    assert held == {(c, t.name) for t in policy.containers.values() for c in t.capabilities["bounding"]}
    head, *body = browser.ask(table.format("limits"))
    assert {row[0]: row[head.index("pids.max")] for row in body} == {
        t.name: str(t.cgroup["pids.max"]) for t in policy.containers.values()
    }
    marks = "[...document.querySelectorAll('#promises summary .badge')].map(one => one.textContent)"
    assert browser.ask(marks) == ["✓ kept"] * len(policy.promises)
    digests = browser.ask("document.querySelector('#bundle').textContent")
    assert all(entry.sha256 in digests for entry in review.bundle.manifest.entries)
    assert review.bundle.digest in digests


def running(folder: Path) -> list[str]:
    """The processes whose command line names a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found += [path.parent.name] if str(folder).encode() in path.read_bytes() else []
    return found


def test_the_browser_leaves_nothing_behind(html: Path) -> None:
    with Browser() as opened:
        opened.open(html, 800)
        folder = opened.profile
        assert running(folder) and opened.picture()[:4] == b"\x89PNG"
    deadline = time.monotonic() + 5
    while running(folder) and time.monotonic() < deadline:
        time.sleep(0.05)  # its children end with it, a moment later
    assert running(folder) == []
    assert not folder.exists()
