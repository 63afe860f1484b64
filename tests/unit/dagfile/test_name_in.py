"""The name of a file's main DAG, whatever else is wrong with the file."""

from twisted.trial.unittest import SynchronousTestCase

from txdagu.dagfile import name_in


class NameInTests(SynchronousTestCase):
    def test_table(self) -> None:
        """A name is found in files that are refused; a file without one is called by the other name."""
        for text, name in (
            ("name: mine\nsteps: 3", "mine"),
            ("---\n---\nname: mine", "mine"),
            ("steps: []", "stem"),
            ("name: 7", "stem"),
            ("- x", "stem"),
            ("a: [", "stem"),
            ("", "stem"),
        ):
            self.assertEqual(name_in(text, "stem"), name, text)
