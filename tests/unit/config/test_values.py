"""From text to typed values."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txdagu.config.nearest import nearest, within_edits
from txdagu.config.values import (
    Surroundings,
    UnfitError,
    read_boolean,
    read_duration,
    read_host,
    read_integer,
    read_path,
    read_port,
)


class Scalars(SynchronousTestCase):
    """Each kind of value, right and wrong."""

    def test_durations(self) -> None:
        """Go's form, with several parts and fractions."""
        for text, seconds in (
            ("30s", 30.0), ("1h30m", 5400.0), ("1.5s", 1.5), ("250ms", 0.25), (".5m", 30.0), ("24h", 86400.0), ("2us", 2e-6),
        ):  # fmt: skip
            self.assertAlmostEqual(read_duration(text), seconds)
        self.assertEqual((read_duration("0", zero=True), read_duration("0s", zero=True)), (0.0, 0.0))

    def test_bad_durations(self) -> None:
        """A number without a unit, an unknown unit, a sign, an end that is missing."""
        for text in ("30", "", "5d", "-5s", "5s3", "s", "1h 30m", "0", "0ms", ".", "9" * 400 + "h"):
            self.assertRaises(UnfitError, read_duration, text)

    @given(st.integers(0, 200), st.integers(0, 59), st.integers(0, 59), st.integers(1, 999))
    def test_duration_sum(self, hours: int, minutes: int, seconds: int, millis: int) -> None:
        """The parts add up."""
        text = f"{hours}h{minutes}m{seconds}s{millis}ms"
        self.assertAlmostEqual(read_duration(text), hours * 3600 + minutes * 60 + seconds + millis / 1000)

    def test_ports(self) -> None:
        """0 to 65535 in plain digits, nothing else."""
        self.assertEqual([read_port(text) for text in ("0", "8080", "65535", "0080")], [0, 8080, 65535, 80])
        for text in ("65536", "-1", "1e3", "", "\uff18\uff10", "80 81", "http", "8" * 5000):
            self.assertRaises(UnfitError, read_port, text)

    def test_integers(self) -> None:
        """Whole numbers of either sign."""
        self.assertEqual([read_integer(text) for text in ("0", "-7", "+7")], [0, -7, 7])
        for text in ("", "1.0", "ten", "1_000", "9" * 10):
            self.assertRaises(UnfitError, read_integer, text)

    def test_booleans(self) -> None:
        """Go's words and YAML's, in any case."""
        for text in ("true", "TRUE", "1", "t", "yes", "On"):
            self.assertIs(read_boolean(text), True)
        for text in ("false", "F", "0", "no", "off"):
            self.assertIs(read_boolean(text), False)
        self.assertRaises(UnfitError, read_boolean, "")

    def test_hosts(self) -> None:
        """Names and addresses; brackets of IPv6 are dropped, schemes and ports refused."""
        self.assertEqual(
            [read_host(text) for text in ("0.0.0.0", "::1", "[::1]", "a.b", "")], ["0.0.0.0", "::1", "::1", "a.b", ""]
        )
        for text in ("http://a", "a:80", "a b", "a/b"):
            self.assertRaises(UnfitError, read_host, text)

    @given(st.text(alphabet=st.characters(exclude_characters="$\0", exclude_categories=["Cs"])))
    def test_paths_are_absolute(self, text: str) -> None:
        """Whatever the text, a path is empty or absolute, and reading it again changes nothing."""
        around = Surroundings("/base", "/home/u", {})
        path = read_path(text, around)
        self.assertTrue(path == "" or path.startswith("/"))
        self.assertEqual(read_path(path, around), path)


class Guesses(SynchronousTestCase):
    """What a misspelled word was meant to be."""

    def test_nearest(self) -> None:
        """The most alike, or nothing when nothing is alike."""
        self.assertEqual(nearest("Coordinater", ["worker", "coordinator"]), "coordinator")
        self.assertEqual(nearest("xyz", ["worker", "coordinator"]), "")

    def test_edits(self) -> None:
        """Insertions, deletions and changes are counted."""
        for word, limit, expected in (
            ("wrker", 1, "worker"),
            ("worrker", 1, "worker"),
            ("warkor", 1, ""),
            ("warkor", 2, "worker"),
        ):
            self.assertEqual(within_edits(word, ["worker"], limit), expected)
