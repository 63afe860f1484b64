"""Secrets hidden in texts, in streams, and in the states of a run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.evaluation.masking import MASK, Masker
from txdagu.execution.hiding import HiddenSecrets, known_outputs
from txdagu.model.dag import ChildCall, Command, Step
from txdagu.model.run import ChildRun, NodeStatus

few_letters = st.text(alphabet="ab\n\u00e9", max_size=6)


class TextTests(SynchronousTestCase):
    def test_longest_first(self) -> None:
        """Of secrets that begin alike the longest is hidden whole; empty ones hide nothing."""
        masker = Masker({"A": "abc", "B": "abcdef", "C": ""})
        self.assertEqual(masker.text("abc abcdef bcd xabcx"), f"{MASK} {MASK} bcd x{MASK}x")
        self.assertFalse(Masker({"C": ""}))
        self.assertEqual(Masker({"C": ""}).text("abc"), "abc")

    def test_white_space_around(self) -> None:
        """A file's last line end, which a shell drops, does not show the secret; what was sealed comes back as it was."""
        masker = Masker({"A": "abc\n", "B": " \n"})
        self.assertEqual(masker.text("x abc y abc\nz"), f"x {MASK} y {MASK}z")
        self.assertEqual(masker.stream().feed(b"x abc y"), f"x {MASK} y".encode())
        sealed = masker.seal("abc abc\n")
        assert sealed is not None
        self.assertNotIn("abc", "".join(sealed))
        self.assertEqual(masker.unseal(sealed), "abc abc\n")

    def test_sealed(self) -> None:
        """A sealed text shows no secret, and is the text again where the secrets are known; else it has stars."""
        masker = Masker({"A": "abc"})
        sealed = masker.seal("x abc y")
        assert sealed is not None
        self.assertEqual(sealed, ("x ", "A", " y"))
        self.assertEqual(masker.unseal(sealed), "x abc y")
        self.assertEqual(Masker({}).unseal(sealed), f"x {MASK} y")
        self.assertIsNone(masker.seal("nothing"))


class StreamTests(SynchronousTestCase):
    @given(st.lists(few_letters, max_size=4), st.text(alphabet="ab\n\u00e9c", max_size=60), st.lists(st.integers(0, 8)))
    def test_any_cut(self, secrets: list[str], text: str, cuts: list[int]) -> None:
        """However a stream is cut into pieces, what is told in all is the whole text with stars."""
        masker = Masker({str(number): secret for number, secret in enumerate(secrets)})
        stream = masker.stream()
        data, told = text.encode(), b""
        for cut in cuts:
            told += stream.feed(data[:cut])
            data = data[cut:]
        told += stream.feed(data) + stream.flush()
        self.assertEqual(told.decode(), masker.text(text))

    def test_bytes_stay(self) -> None:
        """Binary output is not touched but for secrets, and nothing is held back that cannot become one."""
        stream = Masker({"A": "secret"}).stream()
        self.assertEqual(stream.feed(b"\xff\x00\nsec"), b"\xff\x00\n")
        self.assertEqual(stream.feed(b"ond\xfe"), b"second\xfe")
        self.assertEqual(stream.feed(b"se") + stream.flush(), b"se")

    def test_held_back_is_bounded(self) -> None:
        """A long line costs no more memory than the longest secret."""
        stream = Masker({"A": "x" * 50}).stream()
        for _ in range(64):
            fed = stream.feed(b"xy" * 500)
            self.assertGreaterEqual(len(fed), 1000 - 100)


class StateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.masker = Masker({"TOKEN": "s3cret"})
        self.hidden = HiddenSecrets(self.masker)

    def test_everything_that_is_told(self) -> None:
        """Commands, scripts, redirects, params of children, errors and outputs have stars."""
        step = Step(
            "a",
            commands=(Command("echo s3cret", "echo", ("s3cret",)),),
            script="s3cret",
            stdout="/x/s3cret.txt",
            child=ChildCall("kid", 'K="s3cret"'),
        )
        node = NodeStatus(step, error="no s3cret", outputs={"O": "s3cret"}, children=(ChildRun("1", "s3cret"),))
        [told] = self.hidden.nodes((node,))
        self.assertNotIn("s3cret", repr(told))

    def test_outputs_can_be_known_again(self) -> None:
        """What an attempt told of an output gives its value to an attempt that has the secrets; hiding twice loses nothing."""
        [told] = self.hidden.nodes((NodeStatus(Step("a"), outputs={"O": "a s3cret b", "P": "plain"}),))
        [again] = HiddenSecrets(self.masker).nodes((told,))
        for node in (told, again):
            self.assertEqual(node.outputs, {"O": f"a {MASK} b", "P": "plain"})
            self.assertEqual(known_outputs(node, self.masker), {"O": "a s3cret b", "P": "plain"})

    def test_same_object(self) -> None:
        """A node that has not changed is told as the very object of before, so that its encoded form is used again."""
        node = NodeStatus(Step("a"), error="s3cret")
        self.assertIs(self.hidden.nodes((node,))[0], self.hidden.nodes((node,))[0])
        other = NodeStatus(Step("a"))
        self.assertIs(self.hidden.nodes((other,))[0], other)
