"""What of a DAG is ours alone, and what workers of Dagu get of it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txdagu.dagfile import beyond_dagu, for_dagu, load_dag


class BeyondTests(SynchronousTestCase):
    def test_table(self) -> None:
        """The first word that Dagu does not know is named, wherever in the file it stands."""
        for text, phrase in (
            ("steps: [a]", ""),
            ("onWorkerLost: fail\nsteps: [a]", ""),
            ("steps: [{call: x, workerSelector: {a: b}}]\n---\nname: x\nsteps: [a]", ""),
            (
                "steps: [{name: s, command: a, workerSelector: {a: b}}]",
                "workerSelector on step 's', which calls no DAG",
            ),
            ("steps: [a]\n---\nname: x\nsteps: [{name: s, type: python, script: a}]", "the type 'python' of step 's'"),
            ("steps: [a]\nhandlerOn: {exit: {type: shout, command: a}}", "the type 'shout' of step 'onExit'"),
        ):
            self.assertEqual(beyond_dagu(load_dag(text, "f.yaml")), phrase, text)


class StrippedTests(SynchronousTestCase):
    def test_left_out(self) -> None:
        """``onWorkerLost`` is left out of every document, in both spellings; the rest means the same."""
        text = 'name: m\nonWorkerLost: {policy: fail, limit: 2}\nenv: [A: "on", B: 1.10]\nsteps: [{run: x}]\n---\n'
        text += "name: x\non_worker_lost: wait\nsteps:\n  - script: |\n      echo $A\n      echo onWorkerLost\n"
        stripped = for_dagu(text)
        before, after = load_dag(text, "f.yaml"), load_dag(stripped, "f.yaml")
        self.assertEqual((before.steps, before.env), (after.steps, after.env))
        self.assertEqual(before.local_dags["x"].steps, after.local_dags["x"].steps)
        self.assertNotIn("policy", stripped)
        self.assertEqual(stripped.count("orker"), 1)

    def test_untouched(self) -> None:
        """A text without the word keeps every letter, comments too; so does one that nobody can read."""
        for text in ("# mine\nsteps: [a]\n", "onWorkerLost: [", "- onWorkerLost\n"):
            self.assertEqual(for_dagu(text), text)
