"""References, backticks, expansion, params and environments."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.evaluation.backticks import replace_backticks
from txdagu.execution.evaluation.environment import RunEnvironment, host_variables
from txdagu.execution.evaluation.expansion import expand
from txdagu.execution.evaluation.outputs import Visible, extended, inherited
from txdagu.execution.evaluation.params import (
    evaluate_assignments,
    evaluate_call,
    evaluate_params,
    merge_params,
    params_json,
)
from txdagu.execution.evaluation.references import Scope, StepFacts, replace_references
from txdagu.execution.evaluation.stages import Evaluator
from txdagu.model.errors import DaguError, InvalidInputError
from txdagu.model.params import parse_params


async def shout(command: str) -> str:
    """Stands for the shell: the command in capitals."""
    if command == "false":
        raise DaguError("the command in backticks `false` failed: exit status 1")
    return command.upper()


def nothing(name: str) -> str | None:
    return None


def command(text: str, value: str, **more: str) -> str:
    found: list[str] = []
    evaluator = Evaluator(Scope({"V": value, **more}, {"W": "from env"}), shout)
    Deferred.fromCoroutine(evaluator.command(text)).addCallback(found.append)
    return found[0]


class MeasuredTests(SynchronousTestCase):
    def test_table(self) -> None:
        """What the shell receives for each text and value whose outcome was measured on Dagu 1.30.2."""
        for text, value, received in (
            ("echo ${V}", "a  b", "echo a  b"),
            ('echo "${V}"', "a  b", 'echo "a  b"'),
            ('echo "${V}"', 'q"x', 'echo "q\\"x"'),
            ('echo "see $V"', 'q"x', 'echo "see q"x"'),
            ('echo "see ${V}!"', 'q"x', 'echo "see q"x!"'),
            ("echo '${V}'", "any", "echo '${V}'"),
            ("echo '${V} z'", "any", "echo '${V} z'"),
            ("echo 'z ${V}'", "any", "echo 'z ${V}'"),
            ("echo 'z $V'", "any", "echo 'z $V'"),
            ("echo 'a ${V} b'", "val", "echo 'a val b'"),
            ("echo '${V.k}'", '{"k":"v1"}', "echo 'v1'"),
            ("echo \"x'${V}'y\"", "a", "echo \"x'${V}'y\""),
            ('echo "${V}"', "one\ntwo", 'echo "one\\ntwo"'),
            ('echo "$V"', "one\ntwo", 'echo "one\ntwo"'),
            ("echo ${V}", "one\ntwo", "echo one\ntwo"),
            ('echo "${V}"', "cost $HOME", 'echo "cost $HOME"'),
            ("echo ${V}", "x `cmd`", "echo x CMD"),
            ("printenv V", "any", "printenv V"),
            ("echo $W", "any", "echo $W"),
            ('echo "${NOBODY}"', "any", 'echo "${NOBODY}"'),
            ("echo ${NOBODY.a.b}", "any", "echo ${NOBODY.a.b}"),
            ('echo "${V}"', "back\\slash", 'echo "back\\\\slash"'),
        ):
            self.assertEqual(command(text, value), received, text)

    def test_positional(self) -> None:
        """Positional params have their number as name, all its digits and what follows them at once."""
        self.assertEqual(command("$1 ${2} $11 $3 $1a", "", **{"1": "a", "2": "b", "11": "k"}), "a b k $3 $1a")

    def test_any_name_in_braces(self) -> None:
        """In braces a name may hold dashes, dots, colons, blanks and letters of any language; without them it ends there."""
        names = {"my-param": "d", "a.b": "o", "a:b": "c", "my name": "n", "Größe": "g", "1a": "x"}
        text = "${my-param} ${a.b} ${a:b} ${my name} ${Größe} ${1a} $1a $my-param $Größe ${no-such} ${}"
        self.assertEqual(command(text, "", **names), "d o c n g x x $my-param $Größe ${no-such} ${}")

    def test_beside_a_single_quote(self) -> None:
        """A quote that touches one reference does not touch the next one, which stands behind it."""
        for text, received in (
            ("$V'$V", "$V'v"),
            ("'$V'$V", "'$V'v"),
            ("$V''$V", "$V''$V"),
            ("'${V}${V}'", "'${V}${V}'"),
        ):
            self.assertEqual(command(text, "v"), received, text)


class PathTests(SynchronousTestCase):
    def resolve(self, path: str, value: object) -> str:
        return command("${V" + path + "}", json.dumps(value))

    def test_values(self) -> None:
        """Values print as Go prints them; missing keys, indexes beyond the end and nothing are <nil>."""
        for path, value, text in (
            (".a.b[0].c", {"a": {"b": [{"c": "x"}]}}, "x"),
            ('.a["b c"]', {"a": {"b c": True}}, "true"),
            (".a[-1]", {"a": [1, 2]}, "2"),
            ('.["k-d"]', {"k-d": 5}, "5"),
            ('."k-d"', {"k-d": 5}, "5"),
            (".a | length", {"a": [1, 2]}, "2"),
            (".a[0:2]", {"a": [1, 2, 3]}, "[1 2]"),
            (".a[]", {"a": ["x", "y"]}, "x"),
            (".n + 1", {"n": 1234567}, "1.234568e+06"),
            ('.z // "d"', {"z": None}, "d"),
            (".a | tostring", {"a": [1, 2.5]}, "[1,2.5]"),
            (".n", {"n": 1234567}, "1.234567e+06"),
            (".n", {"n": 0.00001}, "1e-05"),
            (".n", {"n": 999999}, "999999"),
            (".gone.deeper", {}, "<nil>"),
            (".a[7]", {"a": []}, "<nil>"),
            (".a", {"a": [1, "x", None]}, "[1 x <nil>]"),
            (".a", {"a": {"z": 1, "b": [2]}}, "map[b:[2] z:1]"),
        ):
            self.assertEqual(self.resolve(path, value), text)

    def test_unresolvable(self) -> None:
        """A path into something that is no JSON, or has no keys, stays as written; so does the value beside it."""
        self.assertEqual(command("${V.a}", "plain"), "${V.a}")
        self.assertEqual(command("${V.a.b}", '{"a": "text"}'), "${V.a.b}")
        self.assertEqual(command("$V.txt", "file"), "file.txt")
        for text in ("${V}", "${V.}", "${V.k-d}", '${V["k"]}', "${V | .k}", "${V.k | error}", "${V.k | empty}"):
            expected = '{"k": "v"}' if text == "${V}" else text
            self.assertEqual(command(text, '{"k": "v"}'), expected)

    def test_unbraced_and_environment(self) -> None:
        """``$NAME.path`` goes up to the next blank, whatever stands there; the environment is asked after the variables."""
        self.assertEqual(command("is $V.status .", '{"status": "ok"}'), "is ok .")
        self.assertEqual(command("is $V.status.", '{"status": 1}'), 'is {"status": 1}.status.')
        self.assertEqual(command('"$V.status"', '{"status": 1}'), '"{"status": 1}.status"')
        scope = Scope({}, {"E": '{"k": 1}'})
        self.assertEqual(replace_references("${E.k} $E", scope), "1 $E")

    def test_refused(self) -> None:
        """An expression that may never end is refused, with where it belongs; without braces it is plain text."""
        scope = Scope({"V": '{"x": []}'})
        error = self.assertRaises(InvalidInputError, replace_references, "${V.x | last(repeat(1))}", scope)
        self.assertIn("steps of type jq", str(error))
        self.assertEqual(replace_references("$V.x|repeat(1) ", scope), '{"x": []}.x|repeat(1) ')

    def test_step_properties(self) -> None:
        """Log paths and exit statuses of steps by id; slices; a step that has not run has no paths."""
        steps = {"one": StepFacts("/o", "/e", 17), "two": StepFacts()}
        scope = Scope({}, {}, steps)
        for text, value in (
            ("${one.stdout} ${one.stderr}", "/o /e"),
            ("${one.exitCode} ${one.exit_code} ${one.exitCode:0:1} ${one.exitCode:1}", "17 17 1 7"),
            ('"${one.stdout}"', '"/o"'),
            ("${two.stdout} ${two.exitCode}", "${two.stdout} 0"),
        ):
            self.assertEqual(replace_references(text, scope), value)

    @given(st.text(), st.text())
    def test_own_quotes_round_trip(self, value: str, other: str) -> None:
        """A value in its own double quotes stays one shell word, whatever it is: no quote ends it early."""
        text = replace_references('"${V}"', Scope({"V": value.replace("$", ""), "X": other}))
        inner = text[1:-1]
        unescaped = inner.replace("\\\\", "").replace('\\"', "")
        self.assertNotIn('"', unescaped)


any_text = st.text(alphabet="${}V.J[]'\"`\\ab|:-()0~\n")


class AnyTextTests(SynchronousTestCase):
    def evaluate(self, text: str, stage: str) -> Deferred[str]:
        evaluator = Evaluator(
            Scope({"V": "${V}`x`", "J": '{"a": [1, {"b": null}]}'}, {"E": "e"}, {"s": StepFacts("/o")}), shout
        )
        return Deferred.fromCoroutine(getattr(evaluator, stage)(text))

    @given(any_text)
    def test_never_breaks(self, text: str) -> None:
        """Any text is evaluated, or refused by an error of ours."""
        for stage in ("command", "field"):
            evaluating = self.evaluate(text, stage)
            failures: list[Failure] = []
            evaluating.addErrback(failures.append)
            self.assertTrue(all(failure.check(DaguError) for failure in failures), failures)

    @given(st.text(alphabet=st.characters(exclude_characters="$`~")))
    def test_without_references(self, text: str) -> None:
        """Text without references, backticks and tilde is not touched by any stage."""
        for stage in ("command", "field"):
            self.assertEqual(self.successResultOf(self.evaluate(text, stage)), text)


class BacktickTests(SynchronousTestCase):
    def test_runs(self) -> None:
        """Each pair is run, within quotes as well; escaped and single ones stay."""
        for text, result in (
            ("a `b` '`c d`' \"`e`\"", "a B 'C D' \"E\""),
            ("only ` one", "only ` one"),
            ("\\`x\\`", "\\`x\\`"),
            ("`` x", " x"),
        ):
            self.assertEqual(self.successResultOf(Deferred.fromCoroutine(replace_backticks(text, shout))), result)

    def test_failure(self) -> None:
        """A failing command makes the evaluation fail."""
        self.failureResultOf(Deferred.fromCoroutine(replace_backticks("`false`", shout)), DaguError)


class ExpansionTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Shell-style expansion; command substitution is left alone."""
        environ = {"X": "abcdef", "EMPTY": "", "HOME": "/home/u", "N": "4", "F": "a/b.tar.gz", "U": "ABC"}
        for text, value in (
            ("$X ${X} $NOBODY.", "abcdef abcdef ."),
            ("${NOBODY:-d} ${EMPTY:-d} ${EMPTY-d} ${X:-d}", "d d  abcdef"),
            ("${NOBODY:-$X} ${NOBODY:-${N}}", "abcdef 4"),
            ("${X:+set} ${NOBODY:+set}", "set "),
            ("${X:0:3} ${X:4} ${X: -2} ${X:1:-1}", "abc ef ef bcde"),
            ("${#X}", "6"),
            ("${F##*/} ${F%.gz} ${F%%.*} ${F#*/}", "b.tar.gz a/b.tar a/b b.tar.gz"),
            ("$((1 + 2 * $N)) $((N / 3)) $((-7 / 2)) $((-7 % 2)) $((N > 3 && 0))", "9 1 -3 -1 0"),
            ("~", "/home/u"),
            ("x ~/y", "x ~/y"),
            ("~/x", "/home/u/x"),
            ("cost \\$X \\${X}", "cost \\$X \\${X}"),
            ("${X^^} ${X^} ${X/b/Z} ${F//a/Z} ${U,,} ${U,}", "ABCDEF Abcdef aZcdef Z/b.tZr.gz abc aBC"),
            ("${NOBODY:-'q q'} ${NOBODY:-\"q\"} ${NOBODY:-~/x}", "q q q /home/u/x"),
            ("${X@Q} ${X[0]} ${X:x} ${X:1:x}|", "abcdef abcdef abcdef |"),
            ("$? $$ $# $@ $10", "    0"),
            ("$'x' $\"x\" $", "$'x' $\"x\" $"),
            ("$((X+1))", "1"),
        ):
            self.assertEqual(expand(text, environ.get), value, text)

    def test_simple_rules(self) -> None:
        """Where a shell would refuse the text or run a program, all of it is expanded by the simple rules."""
        for text, value in (
            ("$(date $X) ${X:0:1} $X ${X^^}", "$(date abcdef)  abcdef "),
            ("${N:?bad}|${X} ", "4|abcdef "),
            ("${NOPE:?bad}|${X}", "|abcdef"),
            ("${Z=1} ${X:-d}", " "),
            ("${X", "X"),
            ("${}|${X b}|$((1/0))|$((", "||$((1/0))|$(("),
            ("${NOBODY.a.b}", ""),
            ("$((__import__('os')))", "$((__import__('os')))"),
            ("$((9 ** 9 ** 9))", "$((9 ** 9 ** 9))"),
            ("${X/", "X/"),
        ):
            self.assertEqual(expand(text, {"X": "abcdef", "N": "4"}.get), value, text)

    @given(st.text(alphabet=st.characters(exclude_characters="$~")))
    def test_plain_text_stays(self, text: str) -> None:
        """Text without dollar and tilde is not touched."""
        self.assertEqual(expand(text, nothing), text)

    @given(st.text(alphabet="${}()X:-~\\`1+ /^,#%[]@!'\""))
    def test_never_breaks(self, text: str) -> None:
        """Any text expands to something."""
        self.assertIsInstance(expand(text, {"X": "v"}.get), str)


class ParamsTests(SynchronousTestCase):
    def test_merge(self) -> None:
        """Named overrides replace by name, positional ones by number; what fits nowhere is appended."""
        for defaults, overrides, merged in (
            ("A=1 B=2", "B=9 C=3", [("A", "1"), ("B", "9"), ("C", "3")]),
            ("A=1 two", "", [("A", "1"), ("2", "two")]),
            ("one two", "x", [("1", "x"), ("2", "two")]),
            ("A=1 B=2", "x y", [("A", "1"), ("B", "2"), ("1", "x"), ("2", "y")]),
            ("A=1 two", "B=3 z", [("A", "1"), ("2", "z"), ("B", "3")]),
            ("", '{"b": 1, "a": "x y"}', [("a", "x y"), ("b", "1")]),
        ):
            self.assertEqual(merge_params(defaults, overrides), merged)

    def test_evaluated_in_order(self) -> None:
        """Each value sees the earlier ones, the environment and backticks, not the later ones."""
        values = self.evaluate("A=1 B=${A}2 C=${D:-none} D=`x` E=$HOST first F=$6", "")
        self.assertEqual(values, {"A": "1", "B": "12", "C": "none", "D": "X", "E": "h", "6": "first", "F": "first"})

    def evaluate(self, defaults: str, overrides: str) -> dict[str, str]:
        params = evaluate_params(defaults, overrides, {"HOST": "h"}, shout)
        return self.successResultOf(Deferred.fromCoroutine(params))

    def test_overrides_and_defaults_apart(self) -> None:
        """A default is made of other defaults, whatever is given; an override sees what else is given, and no defaults."""
        values = self.evaluate("A=a B=${A}-y C=c", "A=o C=${A} D=${B}x E=$HOST")
        self.assertEqual(values, {"A": "o", "B": "a-y", "C": "o", "D": "x", "E": "h"})
        self.assertEqual(self.evaluate("one ${1}2", "x ${1}3"), {"1": "x", "2": "x3"})

    def test_overridden_defaults_are_evaluated(self) -> None:
        """What goes wrong in a default goes wrong also when somebody gives another value."""
        failed = Deferred.fromCoroutine(evaluate_params("A=`false`", "A=1", {}, shout))
        self.assertIn("false", str(self.failureResultOf(failed, DaguError).value))

    def test_json(self) -> None:
        """All params as an object; an override that was JSON is passed on unchanged."""
        self.assertEqual(params_json({"1": "p1", "KEY": "v1"}, "p1"), '{"1":"p1","KEY":"v1"}')
        self.assertEqual(params_json({"a": "1"}, '{"a": 1}'), '{"a": 1}')
        self.assertEqual(params_json({"1": "{a"}, "{a"), '{"1":"{a"}')

    @given(st.text(alphabet=st.characters(exclude_characters="$`~", codec="utf-8")))
    def test_call_delivers_any_value(self, value: str) -> None:
        """Whatever a value is, the child's params hold exactly it."""
        evaluator = Evaluator(Scope({"V": value}), shout)
        text = self.successResultOf(Deferred.fromCoroutine(evaluate_call('A="${V}" B=${V} plain', evaluator)))
        self.assertEqual(parse_params(text), [("A", value), ("B", value), (None, "plain")])

    def test_env_of_dag_and_of_step(self) -> None:
        """The values of a DAG's env see the earlier ones; those of a step's env do not see each other."""
        entries = ("X=1", "Y=${X}2", "Z=${H}")
        for chained, expected in ((True, "12"), (False, "2")):
            values = self.successResultOf(
                Deferred.fromCoroutine(
                    evaluate_assignments(entries, Scope({}, {"H": "h"}), shout, chained=chained, where="env")
                )
            )
            self.assertEqual(values, {"X": "1", "Y": expected, "Z": "h"})

    def test_bad_env(self) -> None:
        """An entry without name is refused, with where it stands."""
        evaluating = Deferred.fromCoroutine(
            evaluate_assignments(("nonsense",), Scope({}), shout, chained=True, where="etl: env")
        )
        self.assertIn("etl: env", str(self.failureResultOf(evaluating, InvalidInputError).value))


class EnvironmentTests(SynchronousTestCase):
    def test_host_variables(self) -> None:
        """Only a short list of the engine's variables reaches steps."""
        environ = {"PATH": "p", "SECRET": "s", "DAGU_X": "1", "DAG_Y": "2", "LC_TIME": "3", "LANG": "C"}
        self.assertEqual(set(host_variables(environ)), {"PATH", "DAGU_X", "DAG_Y", "LC_TIME", "LANG"})

    def test_precedence(self) -> None:
        """Step env wins over params, over outputs, over what the engine says, over the DAG's env, over the host's."""
        names = ("LANG", "E", "DAG_RUN_STEP_NAME", "O", "P", "S")
        layers = [dict.fromkeys(names[at:], layer) for at, layer in enumerate(("host", "env", "step", "out"))]
        environment = RunEnvironment(
            layers[0], layers[1], {"P": "param", "S": "param"}, {"DAG_NAME": "d"}, params_json="{}"
        )
        process = environment.process(environment.base(), layers[2], layers[3], {"S": "own"})
        self.assertEqual(
            process,
            {
                "LANG": "host",
                "E": "env",
                "DAG_RUN_STEP_NAME": "step",
                "O": "out",
                "P": "param",
                "S": "own",
                "DAG_NAME": "d",
                "DAGU_PARAMS_JSON": "{}",
            },
        )

    def test_whole_texts(self) -> None:
        """Where no shell follows, all names are replaced in the text itself: behind a backslash, quoted, and within values."""
        scope = Scope({"P": "p"}, {"H": "host"}, {}, {"E": "e $P", "G": 'q"x', "P": "shadowed", "B": "`cmd`"})
        for text, expected in (
            ("\\$E \\${E} \\$P", "\\e p \\e p \\p"),
            ("$E '$E' '\\$E'", "e p 'e $P' '\\$E'"),
            ('"${G}" "$G"', '"q\\"x" "q"x"'),
            ("$B \\$H $H", "CMD \\$H host"),
        ):
            found = self.successResultOf(Deferred.fromCoroutine(Evaluator(scope, shout).field(text)))
            self.assertEqual(found, expected, text)

    def test_variables(self) -> None:
        """A param shadows an output of the same name; env, secrets, and what is said of the run are left to the shell."""
        environment = RunEnvironment(
            {}, {"E": "env"}, {"P": "param"}, {"B": "built-in", "C": "c"}, "{}", {"C": "secret"}
        )
        known = environment.variables({"N": "step"}, {"P": "output", "O": "output"})
        self.assertEqual(known, {"P": "param", "O": "output", "N": "step"})
        scope = Scope(known, {"E": "env"}, {}, environment.late())
        self.assertEqual(replace_references("$N $O $P $B $C $E", scope), "step output param $B $C $E")
        self.assertEqual(expand("$N $O $P $B $C $E", scope.expanded), "step output param built-in secret env")


class OutputsTests(SynchronousTestCase):
    def test_nearest_wins(self) -> None:
        """Of two ancestors with the same output the nearer one is seen."""
        far = extended(Visible(), {"X": "far", "Y": "y"})
        middle = extended(inherited([far]), {})
        near = extended(inherited([middle]), {"X": "near"})
        self.assertEqual(inherited([near]).values(), {"X": "near", "Y": "y"})
        self.assertEqual(inherited([middle, extended(Visible(), {"X": "direct"})]).values()["X"], "direct")
        self.assertEqual(inherited([extended(inherited([far]), {}), far]).values()["X"], "far")

    def test_shared_not_copied(self) -> None:
        """Passing outputs along a chain copies nothing, so that long chains stay cheap."""
        first = extended(Visible(), {"X": "1"})
        self.assertIs(inherited([inherited([first])]).entries, first.entries)

    def test_siblings_do_not_leak(self) -> None:
        """A step's own output reaches its dependants only."""
        root = extended(Visible(), {"R": "r"})
        left = extended(inherited([root]), {"L": "l"})
        right = inherited([root])
        self.assertEqual(inherited([left]).values(), {"R": "r", "L": "l"})
        self.assertEqual(right.values(), {"R": "r"})
