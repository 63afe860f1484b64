"""Command lines in words."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txdagu.model.words import split_words


class WordsTests(SynchronousTestCase):
    def test_measured(self) -> None:
        """The words that a program was given by Dagu 1.30.2 for each command of a step without a shell."""
        for text, words in (
            ("p `echo b c` d", ["p", "`echo b c`", "d"]),
            ("p \"`echo x y`\" '`u v`' `a 'b  c'`d", ["p", "`echo x y`", "`u v`", "`a 'b  c'`d"]),
            ("p --z='q r' x'y z'w", ["p", "--z='q r'", "x'y z'w"]),
            ('p "a b" \'c d\' "q""r" "a b"x', ["p", "a b", "c d", 'q""r', '"a b"x']),
            ("p a\\ b \\$E", ["p", "a\\ b", "\\$E"]),
            ("p a|b a||b a | b", ["p", "a", "|", "b", "a", "||", "b", "a", "|", "b"]),
            ("p \"a\\tb\" 'a\\tb' a\\tb \"\" ''", ["p", "a\tb", "a\\tb", "a\\tb", "", ""]),
            ('p "open', ["p", '"open']),
            ("p it's", ["p", "it's"]),
            ("  ", []),
        ):
            self.assertEqual(split_words(text), words, text)
