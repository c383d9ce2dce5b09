"""JupyterLab in a real browser: a study runs and shows its figure, a slider moves another.

Needs Chromium and its driver (on Debian: ``apt install chromium chromium-driver``) and selenium.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
DRIVER = shutil.which("chromedriver")
STUDY = "18_tune_by_hand.ipynb"

pytest.importorskip("selenium", reason="selenium is not installed: pip install 'labkit[dev]'")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="no Chromium here; on Debian: apt install chromium chromium-driver",
    ),
]

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
    "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-extensions", "--window-size=1400,2400",
    # whatever a page asks of another host fails, and shows in the log
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip

LAB = {
    # all cells are there, not only those in sight
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false"},
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a JupyterLab that serves a folder with a small copy of the notebook."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / STUDY).write_text(json.dumps(small(ROOT / "notebooks" / STUDY)))
    settings = tmp_path / "CONFIG" / "labconfig" / "default_setting_overrides.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps(LAB))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {f"JUPYTER_{name}_DIR": str(tmp_path / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    own["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    own["JUPYTER_PREFER_ENV_PATH"] = "1"
    environment = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"} | own
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
             "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
             "--IdentityProvider.token=", f"--ServerApp.root_dir={folder}",
             "--LabApp.expose_app_in_browser=True", "--LabApp.news_url=None",
             "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"],
            cwd=folder, env=environment, stdout=log, stderr=log,
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        until(lambda: answers(f"{address}/api"), 120, lambda: (tmp_path / "server.log").read_text())
        yield address
    finally:
        process.terminate()
        process.wait(30)


def small(path: Path) -> dict[str, Any]:
    """A notebook with the parameters of its smoke preset, as papermill would inject them."""
    content: dict[str, Any] = json.loads(path.read_text())
    values = {**content["metadata"]["labkit"]["presets"]["smoke"], "figures_to": "figures"}
    lines = [f"{name} = {value!r}\n" for name, value in values.items()]
    at = 1 + next(
        i for i, c in enumerate(content["cells"]) if "parameters" in c["metadata"].get("tags", [])
    )
    cell = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    content["cells"].insert(at, {**cell, "id": "injected", "source": lines})
    return content


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options, Service(str(DRIVER)))
    driver.set_script_timeout(60)
    yield driver
    driver.quit()


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def until(
    condition: Callable[[], Any], seconds: float, said: Callable[[], str] = lambda: ""
) -> Any:
    """Waits for a condition and returns what it gave."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, said()
        time.sleep(0.3)
    return found


def texts(browser: Any, selector: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)"
    return list(browser.execute_script(script, selector))


def image(browser: Any, selector: str) -> str:
    """What an image shows, as a data URL; empty while there is none."""
    script = """
    const image = document.querySelector(arguments[0]);
    if (!image || !image.complete || !image.naturalWidth) return "";
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    canvas.getContext("2d").drawImage(image, 0, 0);
    return canvas.toDataURL();
    """
    return str(browser.execute_script(script, selector))


def errors(browser: Any) -> list[str]:
    """Tracebacks in any output."""
    return texts(browser, '[data-mime-type="application/vnd.jupyter.error"]') + texts(
        browser, '[data-mime-type="application/vnd.jupyter.stderr"]'
    )


def test_a_study_runs_and_a_slider_moves_its_figure(
    server: str, browser: Any, tmp_path: Path
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    def state() -> str:
        browser.save_screenshot(str(tmp_path / "last.png"))
        outputs = "\n".join([*errors(browser), *texts(browser, ".labkit-status")])
        return f"{outputs}\n{(tmp_path / 'server.log').read_text()[-3000:]}"

    browser.get(f"{server}/lab/tree/{STUDY}?reset")
    ready = "return !!window.jupyterapp && !!document.querySelector('.jp-Notebook .jp-CodeCell')"
    until(lambda: browser.execute_script(ready), 120, state)
    # run before the kernel is there, JupyterLab would ask which one to take
    kernel = """
    const opened = [...window.jupyterapp.shell.widgets("main")].find(w => w.sessionContext);
    const context = opened?.sessionContext;
    const kernel = context?.isReady && context.session?.kernel;
    if (kernel?.connectionStatus !== "connected") return false;
    window.jupyterapp.shell.activateById(opened.id);
    return true;
    """
    until(lambda: browser.execute_script(kernel), 120, state)
    browser.execute_script("window.jupyterapp.commands.execute('notebook:run-all-cells')")

    # the study's own figures: as many as its cells draw
    drawn = ".jp-RenderedImage img"
    until(lambda: len(texts(browser, drawn)) >= 3 or errors(browser), 300, state)
    assert errors(browser) == [], state()
    assert until(lambda: image(browser, drawn), 30, state)
    until(lambda: any("digest" in t or "livekit" in t for t in texts(browser, "th")), 60, state)

    # the widgets
    before = until(lambda: image(browser, "img.labkit-frontier"), 60, state)
    knob = browser.find_element(
        By.CSS_SELECTOR, ".labkit-knob-endpointing-max_delay_s .noUi-handle"
    )
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", knob)
    shown = texts(browser, ".labkit-knob-endpointing-max_delay_s .widget-readout")
    knob.send_keys(Keys.ARROW_RIGHT)
    moved = lambda: texts(browser, ".labkit-knob-endpointing-max_delay_s .widget-readout")  # noqa: E731
    until(lambda: moved() != shown, 20, state)
    began = time.monotonic()
    until(lambda: image(browser, "img.labkit-frontier") not in ("", before), 120, state)
    print(
        f"slider from {shown} to {moved()}: another figure after {time.monotonic() - began:.1f} s"
    )
    until(lambda: "at rest" in texts(browser, ".labkit-status")[0], 120, state)
    assert "failed" not in texts(browser, ".labkit-status")[0]
    value = "return document.querySelector('.labkit-code textarea').value"
    assert "max_delay" in browser.execute_script(value)
    assert errors(browser) == [], state()
    browser.save_screenshot(str(tmp_path / "explore.png"))
