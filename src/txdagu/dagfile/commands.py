"""Readers of what a step runs: shell, commands, and the variable that takes their output."""

from __future__ import annotations

from txdagu.dagfile.fields import Field, Fields, Level, type_name
from txdagu.dagfile.report import Report
from txdagu.dagfile.shapes import SWITCH, TEXT, either
from txdagu.dagfile.values import read_strings
from txdagu.model.dag import Command, Output
from txdagu.model.words import split_words
from txdagu.yamltree import Node, scalar_text

OUTPUT = Level(
    "output",
    "output",
    (
        Field("name", TEXT, "The variable that takes the output."),
        Field("key", TEXT, "The key in `outputs.json`, instead of one made from the variable's name."),
        Field("omit", SWITCH, "Leave it out of `outputs.json`.", False),
    ),
    exact=True,
    unknown="",
    required=("name",),
)
OUTPUTS = either(TEXT, OUTPUT.reference)


def read_shell(node: Node | None, report: Report) -> tuple[str, tuple[str, ...]]:
    """The shell's program and its arguments; a string is split into words, a list taken as it is."""
    texts = [text for text, _ in read_strings("shell", node, report)]
    if node is None or not texts:
        return "", ()
    words = split_words(texts[0]) if isinstance(node.value, str) else texts
    if not words or not words[0]:
        return "", ()
    return words[0], tuple(words[1:])


def read_command(node: Node, report: Report) -> tuple[tuple[Command, ...], str]:
    """Commands, or the script that a text of several lines is."""
    if isinstance(node.value, str):
        text = node.value.strip()
        if not text:
            report.field("command", "step command is empty", node)
        elif "\n" in text:
            return (), text
        return (command(text),), ""
    if not isinstance(node.value, list):
        message = f"step command must be an array of strings or a string, got {type_name(node)}"
        report.field("command", message, node)
        return (command(""),), ""
    commands = []
    for item in node.value:
        if item.value is None or isinstance(item.value, dict | list):
            message = f"command array elements must be strings or primitive types, got {type_name(item)}"
            report.field("command", message, item)
        elif text := scalar_text(item.value).strip():
            commands.append(command(text))
    if not commands:
        report.field("command", "step command is empty", node)
    return tuple(commands), ""


def command(text: str) -> Command:
    """A command with its program and arguments split off."""
    words = split_words(text)
    return Command(text, words[0] if words else "", tuple(words[1:]))


def read_output(fields: Fields) -> Output | None:
    """The variable that takes a step's standard output: its name, or a mapping."""
    node = fields.node("output")
    if node is None:
        return None
    if isinstance(node.value, str):
        name = node.value.strip().removeprefix("$")
        return Output(name) if name else None
    if not isinstance(node.value, dict):
        fields.problem("output", f"output must be a string or object, got {type_name(node)}")
        return None
    own = Fields(node, OUTPUT, fields.report, "output.")
    name = own.text("name").removeprefix("$")
    if not name:
        fields.problem("output", "output.name is required when using object form")
    return Output(name, own.text("key"), own.switch("omit"))
