"""The comparison of two programs itself: reading cases, observing runs, telling differences."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from twisted.trial.unittest import SynchronousTestCase

from txdagu.testing.differential.cases import read_case
from txdagu.testing.differential.comparison import covered, differences, value_at
from txdagu.testing.differential.observation import Observer, results_in_order


class DirectoryCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.home = Path(mkdtemp())
        self.addCleanup(rmtree, self.home)


class CaseTests(DirectoryCase):
    def read(self, *comment: str) -> None:
        path = self.home / "some.yaml"
        path.write_text("\n".join(f"# {line}" for line in comment) + "\nsteps: []\n# env: NOT=this\n")
        self.case = read_case(path)

    def test_all_directives(self) -> None:
        """Everything that a comment can say is read, and no comment further down."""
        self.read(
            "Sections 8, 9: what is tested: this",
            "args: -q -- 'A=x y' two",
            "env: B=1=2",
            'file: dags/more.env "A=1\\nB=@HOME@\\n"',
            "refused: some phrase",
            'expect: steps/a b/stdout = "x = y"',
            "deviates: a reason",
            "differs: run/status exit",
        )
        case = self.case
        self.assertEqual((case.sections, case.trap, case.env), ((8, 9), "what is tested: this", {"B": "1=2"}))
        self.assertEqual((case.refused, case.expected), (("some phrase",), {"steps/a b/stdout": "x = y"}))
        self.assertEqual((case.deviates, case.differs), ("a reason", ("run/status", "exit")))
        self.assertEqual(
            case.arguments(self.home, "r"),
            ["start", "--run-id=r", "-q", str(self.home / "dags" / "some.yaml"), "--", "A=x y", "two"],
        )
        case.furnish(self.home)
        self.assertEqual((self.home / "dags" / "more.env").read_text(), f"A=1\nB={self.home}\n")

    def test_mistakes(self) -> None:
        """A comment that is misspelt is an error, not a test that tests less."""
        for comment in (["what is tested"], ["Section 8: x", "expects: a = 1"], ["Section 8: x", "args: a", "args: b"]):
            with self.assertRaises(ValueError):
                self.read(*comment)


class ObserverTests(DirectoryCase):
    def run_directory(self, name: str) -> Path:
        path = self.home / "data/dag-runs/d/dag-runs/2026/01/02" / name
        path.mkdir(parents=True)
        return path

    def test_latest_attempt_and_children(self) -> None:
        """The last line of the last attempt counts; children are told by id; what differs from run to run is gone."""
        run = self.run_directory("dag-run_20260102_030405Z_r1")
        log = self.home / "logs/d/dag-run_20260102_030405Z_r1/run_20260102_030405Z_ab12cd/a.20260102.030405.678.r1.out"
        log.parent.mkdir(parents=True)
        log.write_bytes(b"in " + bytes(self.home) + b" \xff")
        node = {
            "step": {"name": "a", "depends": ["c", "b", "b"]},
            "status": 5,
            "error": 'failed to execute step "a": exit status 1\n',
            "stdout": str(log),
            "outputVariables": {"V": "V=x=y", "DAGU_CONTINUE_ON.a": "DAGU_CONTINUE_ON.a=false"},
        }
        for attempt, text in (
            ("attempt_20260102_030405_000Z_aaaaaa", '{"status": 2}\n'),
            (
                "attempt_20260102_030406_000Z_aaaaaa",
                '{"status": 1}\n' + json.dumps({"status": 4, "nodes": [node]}) + "\n",
            ),
        ):
            (run / attempt).mkdir()
            (run / attempt / "status.jsonl").write_text(text)
        child = run / "children" / "child_kid" / "attempt_20260102_030405_000Z_aaaaaa"
        child.mkdir(parents=True)
        (child / "status.jsonl").write_text('{"status": 3, "name": "other"}\n')
        (child / "outputs.json").write_text('{"metadata": {}, "outputs": {"k": "v"}}')
        seen = Observer(self.home).run("r1")
        assert seen
        self.assertEqual((seen["status"], seen["attempts"]), ("succeeded", 2))
        step = seen["steps"]["a"]
        self.assertEqual((step["status"], step["error"], step["outputs"]), ("skipped", "exit status 1", {"V": "x=y"}))
        self.assertEqual((step["stdout"], step["depends"]), ("in <HOME> \\xff", ["b", "c"]))
        self.assertEqual(step["logs"][0], "<HOME>/logs/d/dag-run_<T>_r1/run_<T>_<A>/a.<T>.r1.out")
        self.assertEqual(seen["children"]["kid"]["status"], "aborted")
        self.assertEqual(seen["children"]["kid"]["outputs"], {"k": "v"})

    def test_parallel_results(self) -> None:
        """Results of parallel children are put in the order of the ids; a text that only looks like them stays."""
        for order in ("ab", "ba"):
            results = [{"dagRunId": run_id, "outputs": {"N": run_id}} for run_id in order]
            outputs = [{"N": run_id} for run_id in order]
            text = json.dumps({"summary": {}, "results": results, "outputs": outputs}, indent=2) + "\n"
            self.assertEqual([one["dagRunId"] for one in json.loads(results_in_order(text))["results"]], ["a", "b"])
            self.assertEqual(results_in_order(text * 2), results_in_order(text) * 2)
            for other in (text + "more", " " + text, json.dumps(json.loads(text)), "{}\n", "12"):
                self.assertEqual(results_in_order(other), other)

    def test_later_rounds(self) -> None:
        """Runs of later rounds are named after the first round's run with the same params, wherever their ids stand."""
        run = self.run_directory("dag-run_20260102_030405Z_r1")
        ids = {name: f"{name}{'0123456789' * 4}" for name in ("first", "other", "again", "third")}
        node = {
            "step": {"name": "s"},
            "status": 4,
            "children": [{"dagRunId": ids["third"], "params": "p"}],
            "childrenRepeated": [
                {"dagRunId": ids["first"], "params": "p"},
                {"dagRunId": ids["other"]},
                {"dagRunId": ids["again"], "params": "p"},
            ],
        }
        for directory in (run, *(run / "children" / f"child_{run_id}" for run_id in ids.values())):
            attempt = directory / "attempt_20260102_030405_000Z_aaaaaa"
            attempt.mkdir(parents=True)
            nodes = (
                [node] if directory is run else [{"step": {"name": "c"}, "stdout": f"/c.{directory.name[6:14]}.out"}]
            )
            (attempt / "status.jsonl").write_text(json.dumps({"status": 4, "nodes": nodes}) + "\n")
        seen = Observer(self.home).run("r1")
        assert seen
        second, third = f"{ids['first']}-round2", f"{ids['first']}-round3"
        self.assertEqual(seen["steps"]["s"]["children"], [(third, "p")])
        self.assertEqual(
            seen["steps"]["s"]["childrenRepeated"], [(ids["first"], "p"), (second, "p"), (ids["other"], "")]
        )
        self.assertEqual(set(seen["children"]), {ids["first"], ids["other"], second, third})
        self.assertEqual(seen["children"][second]["steps"]["c"]["logs"][0], f"/c.{second}.out")

    def test_no_record(self) -> None:
        """A run that left no record is None."""
        self.assertIsNone(Observer(self.home).run("r1"))


class ComparisonTests(SynchronousTestCase):
    def test_differences(self) -> None:
        """Each value that differs is told by its path, also one that only one side has."""
        found = list(differences({"a": {"b": 1, "c": [1]}, "d": 1}, {"a": {"b": 1, "c": [2]}, "e": None}))
        self.assertEqual(found, [("a/c", [1], [2]), ("d", 1, "(absent)"), ("e", "(absent)", None)])

    def test_paths(self) -> None:
        """A path is looked up in the run where it is not about the command; a prefix covers whole parts only."""
        observed = {"exit": 0, "run": {"steps": {"a": 1}}}
        self.assertEqual([value_at(observed, path) for path in ("exit", "steps/a", "run/steps/a")], [0, 1, 1])
        self.assertEqual(value_at({"exit": 0, "run": None}, "status"), "(absent)")
        self.assertEqual(covered("run/steps/ab", ("exit", "run/steps/a")), "")
        self.assertEqual(covered("run/steps/a/b", ("exit", "run/steps/a")), "run/steps/a")
