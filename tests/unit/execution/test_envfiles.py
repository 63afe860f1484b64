"""Dotenv files, secrets from variables and files, and params against a schema."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.envfiles import SecretError, read_dotenv_files, resolve_secrets
from txdagu.execution.evaluation.dotenv import parse_dotenv
from txdagu.execution.paramschema import apply_schema, check_as_written, is_url, parse_schema, read_schema_file
from txdagu.model.dag import Dag, ParamsSchema, Secret
from txdagu.model.errors import InvalidInputError, NotFoundError


class DirectoryCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = mkdtemp()
        self.addCleanup(rmtree, self.directory)

    def write(self, name: str, text: str) -> None:
        path = Path(self.directory, name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


class DotenvTests(SynchronousTestCase):
    def test_measured(self) -> None:
        """Values as Dagu 1.30.2 reads them."""
        for text, value in (
            ("A= spaced  # comment", "spaced"),
            ("A=no#comment", "no#comment"),
            ("A=#x", "#x"),
            ('B=1\nA="dq $B ${B} \\$B \\n x" # c', "dq 1 1 $B \n x"),
            ("A='sq $A \\n'", "sq $A \\n"),
            ("export A=exp", "exp"),
            ("export\tA=1", "1"),
            ("A: yaml", "yaml"),
            ("A=x:y=z", "x:y=z"),
            ("A=$HOSTV-${HOME}-", "--"),
            ('A="multi\nline"', "multi\nline"),
            ("A=a b c", "a b c"),
            ('A="x"y', "x"),
            ('A="x" B=2\nC=$A', "x"),
            ("b=1\nA=$b.", "$b."),
            ('A="tab\\tq\\"q"', 'tabtq"q'),
            ("A=`date`", "`date`"),
            ("A=$(date)", "$(date)"),
            ("A=$(X)", ")"),
            ("A.B=dot\nA=1", "1"),
            ("A=1\nA=2", "2"),
            ("A=1\r\nB=2\r\n", "1"),
            ("A=x\\ny", "x\\ny"),
            ("A = 5", "5"),
            ("  A=lead", "lead"),
            ("A=1\nfoo", "1"),
            ("A=${X:-d}", ":-d}"),
            ("A='a\\'b'", "a\\'b"),
            ('A="a\\\\b"', "a\\b"),
            ("#c\n\n\n  # d\nA=1", "1"),
            ("A=it's", "it's"),
            ("A=\u00fc", "\u00fc"),
        ):
            self.assertEqual(parse_dotenv(text, ".env")["A"], value, text)

    def test_mistakes(self) -> None:
        """What cannot be read is told with file and line."""
        for text, phrase in (
            ("A=1\nbad-key=2", ".env:2: 'bad-key=2' is not NAME=value"),
            ('A=1\n\nB="open', '.env:3: a quoted value does not end (write " behind it)'),
            ("A='it''s'", ".env:1:"),
            ("foo\nA=1", ".env:1: 'foo'"),
        ):
            error = self.assertRaises(InvalidInputError, parse_dotenv, text, ".env")
            self.assertIn(phrase, str(error))

    @given(st.text(alphabet="AB=:\"'\\$(){} \n\r#export.-"))
    def test_never_breaks(self, text: str) -> None:
        """Any text is read, or refused with a sentence."""
        try:
            parse_dotenv(text, "x")
        except InvalidInputError as error:
            self.assertTrue(error.problems)


class DotenvFilesTests(DirectoryCase):
    def test_order_and_places(self) -> None:
        """Later files win; a file is taken from the first place that has it; missing ones are none, bad ones are told."""
        self.write(".env", "X=0\nY=0\nZ=0")
        self.write("one.env", "X=1")
        self.write("wd/one.env", "Y=wd")
        self.write("bad.env", "Z=1\nno-name=2")
        places = (str(Path(self.directory, "wd")), self.directory)
        found, problems = read_dotenv_files([".env", "one.env", "missing.env", "bad.env", ""], places)
        self.assertEqual(found, {"X": "0", "Y": "wd", "Z": "0"})
        self.assertEqual(len(problems), 1)
        self.assertIn("bad.env:2", problems[0])


class SecretTests(DirectoryCase):
    def test_providers(self) -> None:
        """A variable's value, which may be empty, and a file's whole content."""
        self.write("key.txt", "line\nline\n")
        secrets = (Secret("A", "env", "V"), Secret("B", "env", "E"), Secret("C", "file", "key.txt"))
        values = resolve_secrets(secrets, {"V": "v", "E": ""}, ("/nowhere", self.directory))
        self.assertEqual(values, {"A": "v", "B": "", "C": "line\nline\n"})

    def test_unresolvable(self) -> None:
        """What is missing is named, with where it was looked for; an unknown provider with those that there are."""
        for secret, phrase in (
            (Secret("A", "env", "NOPE"), 'environment variable "NOPE" is not set'),
            (Secret("A", "file", "nope"), f"there is no such file: {self.directory}/nope"),
            (Secret("A", "vault", "x"), "unknown secret provider: vault; write env or file"),
        ):
            error = self.assertRaises(SecretError, resolve_secrets, (secret,), {}, (self.directory,))
            self.assertIn(phrase, str(error))


class SchemaTests(DirectoryCase):
    schema = (
        b'{"properties": {"n": {"type": "integer", "minimum": 1, "default": 7}, "b": {"type": "boolean", "default": true},'
        b' "s": {"type": "string"}, "l": {"type": "array", "default": [1, 2]}}, "required": ["s"],'
        b' "additionalProperties": false}'
    )

    def apply(self, **params: str) -> dict[str, str]:
        return apply_schema(parse_schema(self.schema, "s.json"), params)

    def test_defaults(self) -> None:
        """Defaults stand behind what is given, lists as JSON; a text that must be a string stays one."""
        self.assertEqual(self.apply(s="5"), {"s": "5", "n": "7", "b": "true", "l": "[1,2]"})
        self.assertEqual(self.apply(s="x", n="3", b="false", l="[]"), {"s": "x", "n": "3", "b": "false", "l": "[]"})

    def test_all_mistakes(self) -> None:
        """Everything that the schema refuses is told at once."""
        error = self.assertRaises(InvalidInputError, self.apply, n="0", b="maybe", zz="1")
        self.assertEqual(len(error.problems), 4)
        self.assertIn("parameter validation failed", str(error))

    def test_schema_itself(self) -> None:
        """A schema that is no JSON or no schema is refused by its name."""
        for data, phrase in (
            (b"{nope", "failed to parse schema JSON: s.json"),
            (b'{"type": 5}', "$.type"),
            (b"[]", "object"),
        ):
            error = self.assertRaises(InvalidInputError, parse_schema, data, "s.json")
            self.assertIn(phrase, str(error))

    def test_file(self) -> None:
        """The file is looked for in all places, which are told where there is none."""
        self.write("s.json", "{}")
        self.assertEqual(read_schema_file("s.json", ("/nowhere", self.directory)), b"{}")
        error = self.assertRaises(NotFoundError, read_schema_file, "t.json", ("/nowhere", self.directory))
        self.assertIn(f"tried /nowhere/t.json, {self.directory}/t.json", str(error))
        self.assertEqual((is_url("https://x/s.json"), is_url("s.json"), is_url("c:/s.json")), (True, False, False))

    def test_as_written(self) -> None:
        """Before a run, what is certainly wrong is told: values that are still to be evaluated, or given, may be right."""
        self.write("s.json", self.schema.decode())
        dag = Dag("d", base_dir=self.directory, params_schema=ParamsSchema("s.json"))
        for params, over, complete, phrase in (
            ("n=5 s=x", "", True, ""),
            ("n=0 s=x", "", True, "params.n"),
            ("n=0 s=x", "n=2", True, ""),
            ("n=$N s=`x`", "", True, ""),
            ("n=$N b=7 s=x", "", True, "params.b"),
            ("n=5", "", True, "required"),
            ("n=5", "", False, ""),
            ("n=$N s=x zz=1", "", False, "zz"),
        ):
            written = replace(dag, params=params)
            if phrase:
                error = self.assertRaises(InvalidInputError, check_as_written, written, over, complete=complete)
                self.assertIn(phrase, str(error))
                self.assertEqual(len(error.problems), 1)
            else:
                check_as_written(written, over, complete=complete)
        self.assertRaises(NotFoundError, check_as_written, replace(dag, params_schema=ParamsSchema("gone.json")), "")
        check_as_written(replace(dag, params_schema=ParamsSchema("https://x.org/s.json")), "")
