"""The benchmark page in a real browser: complete, without console messages, within its width, light and dark, on a desktop and on a phone.

Screenshots are kept in `CASEMATE_INTEROP_DIR/screens`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

WORK = Path(os.environ["CASEMATE_INTEROP_DIR"])
BINARY = str(Path(os.environ["CASEMATE_BIN"]).resolve())


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """Run a quick benchmark and return the page and the JSON of the same measurement."""
    page = tmp_path_factory.mktemp("bench") / "report.html"
    command = [BINARY, "--json", "bench", "--effort", "quick", "--html", str(page)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return page, json.loads(done.stdout)


@pytest.fixture(scope="module")
def browser():
    options = Options()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    yield driver
    driver.quit()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_and_is_quiet(report, browser, width: int, scheme: str) -> None:
    page, _ = report
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    metrics = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(page.as_uri())
    overflow = browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
    assert overflow <= 0, f"{overflow} px too wide at {width}"
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    lightness = sum(map(int, paper[paper.index("(") + 1 : -1].split(",")[:3]))
    assert (lightness > 600) == (scheme == "light"), paper
    # Nothing is drawn outside the text column, and no figure next to a bar is cut off.
    cut = browser.execute_script(
        "return [...document.querySelectorAll('.bars b')].filter(b => b.getBoundingClientRect().right > document.documentElement.clientWidth).length"
    )
    assert cut == 0
    # Every point of a plot is visible without scrolling, and no label covers a point.
    outside, covered, dead = browser.execute_script(
        """
        const box = e => e.getBoundingClientRect(), wide = document.documentElement.clientWidth;
        const points = [...document.querySelectorAll('svg circle')], lines = [...document.querySelectorAll('svg polyline')];
        const labels = [...document.querySelectorAll('svg text.point')].filter(e => box(e).width);
        const meets = (a, b) => a.left < b.right && b.left < a.right && a.top + 2 < b.bottom && b.top < a.bottom - 2;
        return [
            [...points, ...lines].filter(e => box(e).left < 0 || box(e).right > wide).length,
            labels.filter(l => points.some(p => p.ownerSVGElement === l.ownerSVGElement && meets(box(l), box(p)))).length,
            [...document.querySelectorAll('nav a')].filter(a => !document.querySelector(a.getAttribute('href'))).length,
        ];
        """
    )
    assert (outside, covered, dead) == (0, 0, 0)
    # The first column of a table does not scroll.
    moved = browser.execute_script(
        """
        return [...document.querySelectorAll('.scroll table')].filter(t => {
            const cell = t.querySelector('tbody td'), before = cell.getBoundingClientRect().left;
            t.parentElement.scrollLeft = 1000;
            const after = cell.getBoundingClientRect().left;
            t.parentElement.scrollLeft = 0;
            return Math.abs(after - before) > 1;
        }).length
        """
    )
    assert moved == 0
    tallest = browser.execute_script("return Math.max(...[...document.querySelectorAll('td')].map(e => e.getBoundingClientRect().height))")
    assert tallest < 90, f"a cell is {tallest} px tall at {width}"
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    requests = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {r["params"]["request"]["url"].split(":")[0] for r in requests if r["method"] == "Network.requestWillBeSent"}
    assert asked <= {"file", "data"}, asked
    screens = WORK / "screens"
    screens.mkdir(exist_ok=True)
    height = browser.execute_script("return document.documentElement.scrollHeight")
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics | {"height": height})
    browser.save_screenshot(str(screens / f"bench-{width}-{scheme}.png"))


def test_the_page_shows_every_row_of_the_report(report, browser) -> None:
    page, data = report
    assert data["schema"] == "casemate.bench/1"
    browser.get(page.as_uri())
    text = browser.execute_script("return document.body.textContent")
    for row in data["primitives"]:
        assert row["name"] in text
        for operation in row["operations"]:
            assert operation["timing"]["median_us"] > 0, (row["name"], operation)
    for table in ("primitives", "bulk", "gradients", "checkpoints", "handshakes", "rounds"):
        assert data[table], table
    for claim in ("+15 to 25 %", "+20 to 35 %", "+18 to 30 %"):
        assert claim in text
    # The article's figures are next to the measured ones, and its title appears once.
    assert text.count("Quantum-Resistant Security for Cloud-Native AI: Hybrid Encryption Strategies") == 1
    stated = {row["name"]: row for row in data["primitives"] if "article" in row}
    assert set(stated) == {"RSA-2048 OAEP", "RSA-2048 PSS", "ECDSA P-256", "ML-KEM-1024", "ML-DSA-87"}
    assert stated["ML-KEM-1024"]["article"] == {"name": "Kyber-1024", "sizes": {"public": 1568, "private": 3168, "output": None}}
    for row in stated.values():
        for operation in row["operations"]:
            there = operation["article"]
            assert there["ratio"] == pytest.approx(there["us"] / operation["timing"]["median_us"])
    assert "Kyber-1024 as ML-KEM-1024" in text and "4,860 is in neither" in text
    assert not re.search(r"\d us\b", text) and not re.search(r"\d\.\d{6}", text)
    assert "undefined" not in text and "NaN" not in text and "inf" not in text.split()
