"""Labels and selectors."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txdagu.model.errors import InvalidInputError
from txdagu.model.labels import WorkerSelector, format_labels, parse_labels

WORD = st.text(st.characters(codec="utf-8", exclude_characters=",=", exclude_categories=("Z", "C")), min_size=1)


class ParseLabelsTests(SynchronousTestCase):
    def test_reads_what_the_command_line_writes(self) -> None:
        """Blanks go, case stays, values may hold an equals sign or be empty."""
        self.assertEqual(
            parse_labels("gpu=true, mem = 64G ,empty=,a=b=c,GPU=Caps"),
            {"gpu": "true", "mem": "64G", "empty": "", "a": "b=c", "GPU": "Caps"},
        )

    def test_nothing_is_no_labels(self) -> None:
        """An empty text and stray commas are no labels, and no error."""
        self.assertEqual(parse_labels(" , ,"), {})

    def test_every_bad_item_is_named(self) -> None:
        """All problems come at once, each with the option it came from."""
        with self.assertRaises(InvalidInputError) as caught:
            parse_labels("gpu,=x,a=1,a=2", "--worker.labels")
        messages = [str(problem) for problem in caught.exception.problems]
        self.assertEqual(len(messages), 3)
        for message, word in zip(messages, ("'gpu'", "'=x'", "'a' is given twice"), strict=True):
            self.assertTrue(message.startswith("--worker.labels: "))
            self.assertIn(word, message)

    @given(st.dictionaries(WORD, st.one_of(WORD, st.just(""))))
    def test_round_trip(self, labels: dict[str, str]) -> None:
        """What is written can be read."""
        self.assertEqual(parse_labels(format_labels(labels)), labels)


class WorkerSelectorTests(SynchronousTestCase):
    def test_the_step_wins_key_by_key(self) -> None:
        """A calling step's selector is laid over the child's own."""
        child = WorkerSelector({"gpu": "true", "region": "us"})
        self.assertEqual(
            child.overridden_by(WorkerSelector({"region": "eu"})), WorkerSelector({"gpu": "true", "region": "eu"})
        )

    def test_local_on_the_step_wins_whole(self) -> None:
        """`local` at the call keeps the child here, whatever it asks for."""
        self.assertTrue(WorkerSelector({"gpu": "true"}).overridden_by(WorkerSelector(local=True)).local)

    def test_labels_on_the_step_win_over_a_local_child(self) -> None:
        """A step may send away a child that would stay by itself."""
        self.assertEqual(
            WorkerSelector(local=True).overridden_by(WorkerSelector({"a": "1"})), WorkerSelector({"a": "1"})
        )

    def test_an_empty_selector_changes_nothing(self) -> None:
        """A call without selector leaves the child's own."""
        own = WorkerSelector({"gpu": "true"})
        self.assertEqual(own.overridden_by(WorkerSelector()), own)
        self.assertFalse(WorkerSelector())
