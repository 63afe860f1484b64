"""What is sent for a command. The lines were recorded on Dagu 1.30.2, by a server that prints what it is asked to execute."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.evaluation.references import Scope
from txdagu.execution.evaluation.stages import Evaluator
from txdagu.execution.steps.ssh.words import evaluated_command, shell_line
from txdagu.model.dag import Command

# A command, and the line without a shell and with the shell sh; "=" is the command itself, for sh in quotes.
LINES = (
    ("echo hi there", "=", "="),
    ("  echo   spaced \t out  ", "echo spaced out", "echo spaced out"),
    ("a | b && c; d > e 2>&1 &", "a '|' b '&&' 'c;' d '>' e '2>&1' '&'", "="),
    ("c a||b a|&b a&b \\| a\\|b", "c a '||' b a '|' '&b' 'a&b' '\\|' 'a\\|b'", "c a || b a | &b a&b \\| a\\|b"),
    ("c 'a  b' \"c  d\" e\\ f \"\" ''", "c 'a  b' 'c  d' 'e\\ f' '' ''", 'c "a  b" "c  d" "e\\ f"  '),
    ("ls --x=y --z='q r' @% a+b-c_d.e/f", "ls '--x=y' '--z='\\''q r'\\''' '@%' 'a+b-c_d.e/f'", None),
    ('c \'a\'b "c"d a"b c"d', "c ''\\''a'\\''b' '\"c\"d' 'a\"b c\"d'", None),
    ("unb 'quote to the end", "unb ''\\''quote to the end'", None),
    ('c "a" "b', "c a '\"b'", 'c a "b'),
    ("c 'it'\\''s'", "c 'it'\\''\\'\\'''\\''s'", None),
    (
        r'c "a\\b" "a\tb" "\u00e9\x41\101" "x\y" "\$E"',
        "c 'a\\b' 'a\tb' '\u00e9AA' 'x\\y' '\\env'",
        "c a\\b a\tb \u00e9AA x\\y \\$E",
    ),
    (r'c "a \" b" \"esc\" x\ ', "c 'a \" b' '\\\"esc\\\"' 'x\\ '", None),
    (
        'c "\'a b\'" \'"c d"\' K="v w" k=v',
        "c ''\\''a b'\\''' '\"c d\"' 'K=\"v w\"' 'k=v'",
        'c \'a b\' "c d" K="v w" k=v',
    ),
    ("'a b' c", "=", "a b c"),
    ('"" x', "'' x", " x"),
    ("c !#$ {a,b} [x] * ~ é", "c '!#$' '{a,b}' '[x]' '*' '~' 'é'", None),
    ("c # no comment", "c '#' no comment", "="),
    ("c `echo p q` x=`echo 'p q'`", "c '<echo p q>' 'x=<echo '\\''p q'\\''>'", None),
    ("$P $P '$P' \"$P\" x$P", "'$P' 'v w' 'v w' 'v w' 'xv w'", '$P "v w" "v w" "v w" "xv w"'),
    ("c $E ${E:0:1} ${NO} ${NO:-d} $((1+2)) ~/x", "c env '' '' '' '$((1+2))' '~/x'", "c env e  d 3 /home/x"),
    ("c $$ $? $0 $1 $ $(date)", "c '' '' '' '' '$' '$(date)'", "c     $ $(date)"),
    ("awk '{print $1}' f", "awk '{print }' f", 'awk "{print }" f'),
    (
        'for f in a b; do echo "$E"; done',
        "for f in a 'b;' do echo '\"env\";' done",
        'for f in a b; do echo "env"; done',
    ),
    ("sh -c 'echo \"a b\"; ls'", "sh -c 'echo \"a b\"; ls'", 'sh -c "echo \\"a b\\"; ls"'),
)

# Program and arguments of a shell, and the line that has it run "c".
SHELLS = (
    (("bash",), "bash -c c"),
    (("bash", "-e"), "bash -e -c c"),
    (("bash", "-c", "-x"), "bash -c -x c"),
    (("sh", "-lc"), "sh -lc -c c"),
    (("/opt/my sh", "-o", "a b"), "'/opt/my sh' -o 'a b' -c c"),
    (("Powershell.exe",), "Powershell.exe -Command c"),
    (("pwsh", "-NoProfile", "-Command"), "pwsh -NoProfile -Command c"),
    (("CMD",), "CMD /c c"),
    (("nix-shell", "-p", "jq"), "nix-shell -p jq --run c"),
    (("direct",), "direct -c c"),
)


async def told(text: str) -> str:
    """What the tests take for the output of backticks."""
    return f"<{text}>"


EVALUATOR = Evaluator(Scope({"P": "v w"}, {"E": "env", "HOME": "/home"}), told)


class WordTests(SynchronousTestCase):
    def line(self, text: str, shell: tuple[str, ...] = ()) -> tuple[Command, str]:
        """The command and the line for it."""
        return self.successResultOf(Deferred.fromCoroutine(evaluated_command(Command(text), EVALUATOR, shell)))

    def test_without_shell(self) -> None:
        """Each word arrives as one word, and nothing means anything to the login's shell."""
        for text, expected, _ in LINES:
            self.assertEqual(self.line(text)[1], text if expected == "=" else expected, text)

    def test_with_shell(self) -> None:
        """The words are joined to a text again, for that shell."""
        for text, _, expected in LINES:
            if expected is not None:
                wanted = text if expected == "=" else expected
                self.assertEqual(self.line(text, ("sh",))[1], shell_line(("sh",), wanted), text)

    def test_shells(self) -> None:
        """Each kind of shell has its option for a command line, which is not given twice."""
        for shell, expected in SHELLS:
            self.assertEqual(shell_line(shell, "c"), expected)

    def test_command(self) -> None:
        """The command keeps its text, and has the evaluated words beside it."""
        self.assertEqual(self.line("c $P")[0], Command("c $P", "c", ("v w",)))
