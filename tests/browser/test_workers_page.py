"""The workers page in a real browser, while a real cluster works: what a user sees."""

import shutil
import tempfile
import unittest
from pathlib import Path
from signal import SIGINT
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txdagu.testing.programs import DAGU, Program

CHROMIUM = shutil.which("chromium")
CHROMEDRIVER = shutil.which("chromedriver")


def browser(profile: str) -> Any:
    """A headless Chromium that asks nobody outside for anything."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for argument in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(CHROMEDRIVER))


@unittest.skipUnless(CHROMIUM and CHROMEDRIVER, "chromium and chromedriver are not installed")
class WorkersPageTests(SynchronousTestCase):
    """One walk through the page; a browser and a cluster are too dear to start for each look."""

    def setUp(self) -> None:
        """A browser with an empty profile."""
        profile = tempfile.mkdtemp(prefix="txdagu-browser-")
        self.addCleanup(shutil.rmtree, profile, ignore_errors=True)
        self.browser = browser(profile)
        self.addCleanup(self.browser.quit)

    def see(self, css: str, seconds: float = 20) -> Any:
        """The element, once the page shows it."""
        from selenium.webdriver.common.by import By
        from selenium.webdriver.support import expected_conditions
        from selenium.webdriver.support.wait import WebDriverWait

        found = expected_conditions.visibility_of_element_located((By.CSS_SELECTOR, css))
        return WebDriverWait(self.browser, seconds, poll_frequency=0.1).until(found, f"never saw {css}")

    def see_no_more(self, css: str, seconds: float = 20) -> None:
        """Wait until the page shows no such element."""
        from selenium.webdriver.common.by import By
        from selenium.webdriver.support import expected_conditions
        from selenium.webdriver.support.wait import WebDriverWait

        gone = expected_conditions.invisibility_of_element_located((By.CSS_SELECTOR, css))
        WebDriverWait(self.browser, seconds, poll_frequency=0.1).until(gone, f"still there: {css}")

    def cordon(self, worker: str, reason: str) -> None:
        """Cordon a worker for a reason, see that told, and let it have tasks again."""
        self.see(f'[data-worker-id="{worker}"] [data-order="cordon"]').click()
        question = self.browser.switch_to.alert
        question.send_keys(reason)
        question.accept()
        told = self.see(f'[data-worker-id="{worker}"][data-state="cordoned"] .state').text
        self.assertRegex(told, rf"^cordoned since [\d:]+: {reason} \(by web page, 127\.0\.0\.1\)$")
        self.see_no_more(f'[data-worker-id="{worker}"] [data-order="cordon"]')
        self.see(f'[data-worker-id="{worker}"] [data-order="resume"]').click()
        self.see(f'[data-worker-id="{worker}"][data-state="schedulable"] [data-order="drain"]')

    def test_a_worker_comes_works_and_leaves(self) -> None:
        """The page follows the demo by itself: rows, health, running tasks, a worker more and less, and the server's end."""
        with Program([*DAGU, "demo", "--keep"], {}) as demo:
            home = demo.wait_for(r"in (\S*dagu-demo-\S+)")[1]
            address = demo.wait_for(r"(http://\S+/workers)")[1]
            self.browser.get(address)
            for worker in ("gpu-1", "eu-1"):
                self.see(f'[data-worker-id="{worker}"][data-health="healthy"]')
            self.assertIn("memory", self.see('[data-worker-id="gpu-1"]').text)

            task = self.see('[data-worker-id="gpu-1"] [data-task-run-id]')
            self.assertIn("train-model", task.text)
            self.assertIn("distributed-pipeline", task.text)
            self.see_no_more('[data-worker-id="gpu-1"] [data-task-run-id]')
            demo.wait_for("stays up")
            self.cordon("eu-1", "disk <b>swap</b>")

            with Program([*DAGU, "worker", "--worker.id=late", "--worker.labels=zone=a"], {"DAGU_HOME": home}) as late:
                self.see('[data-worker-id="late"][data-health="healthy"]')
                self.assertEqual(late.stop(), 0, late.output)
            self.see_no_more('[data-worker-id="late"]')

            self.assertEqual(demo.stop(SIGINT), 0, demo.output)
            self.assertFalse(Path(home).exists(), "the demo leaves nothing behind")
        self.assertIn("lost", self.see('#connection[data-state="lost"]').text.lower())
        complaints = [entry for entry in self.browser.get_log("browser") if "ERR_CONNECTION" not in entry["message"]]
        self.assertEqual(complaints, [], "the page must not cause errors in the browser's console")
