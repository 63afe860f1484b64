"""`dagu demo`, as a user runs it."""

import re
import shutil
import tempfile
from pathlib import Path
from signal import SIGINT

from twisted.trial.unittest import SynchronousTestCase

from txdagu.testing.programs import DAGU, Program, run

ROOT = Path(__file__).parents[2]


def masked(output: str) -> list[str]:
    """The lines without what differs from run to run: directories, ports, durations, blanks at the end."""
    text = re.sub(r"/tmp/dagu-demo-\w+|127\.0\.0\.1:\d+|after [\d.]+s", "…", output)
    return [line.rstrip() for line in text.strip().splitlines()]


class InterruptedDemoTests(SynchronousTestCase):
    """Ctrl-C in the middle."""

    def test_nothing_stays(self) -> None:
        """The step that runs on a worker is ended too, and no temporary file is left."""
        temporary = tempfile.mkdtemp(prefix="txdagu-demo-test-")
        self.addCleanup(shutil.rmtree, temporary, ignore_errors=True)
        with Program([*DAGU, "demo"], {"TMPDIR": temporary, "COLUMNS": "40"}) as demo:
            demo.wait_for(r"main .*coordinator  http://127\.0\.0\.1:\d+/workers$")  # whole, however narrow it is
            demo.wait_for(r"train-model > ▶ train started")
            self.assertEqual(demo.stop(SIGINT), 1, demo.output)
        self.assertRegex(demo.output, r"train-model > ✘ train aborted")
        self.assertEqual(demo.lines[-1], "Interrupted.")
        self.assertEqual(list(Path(temporary).iterdir()), [])


class DemoTests(SynchronousTestCase):
    """The whole thing, once."""

    def test_the_pipeline_runs_where_its_labels_say(self) -> None:
        """Exit 0, and the output names the place of each run, what it printed, and the page."""
        done = run([*DAGU, "demo"], {"COLUMNS": "120"})
        self.assertEqual(done.process.returncode, 0, done.output)
        for expected in (
            r"distributed-pipeline +here .*✔",
            r"train-model +worker gpu-1 +gpu=true,memory=64G +✔",
            r"report +worker eu-1 +region=eu-west-1 +✔",
            r"Result: Succeeded",
            r"the model reached an accuracy of 0\.93",
            r"http://127\.0\.0\.1:\d+/workers",
            r"train-model > ▶ train started, worker gpu-1",
        ):
            self.assertRegex(done.output, expected)
        shown = (ROOT / "README.md").read_text().split("```\n")[3]
        self.assertEqual(masked(done.output), masked(shown), "the README shows what `make demo` prints")
