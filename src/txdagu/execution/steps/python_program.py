"""
The program that a ``python`` step runs, with whatever interpreter the step names.

It stands alone: the standard library only, and nothing newer than Python 3.7. Its last argument is the directory of
`txdagu.execution.steps.exchange`.
"""

from __future__ import annotations

import json
import linecache
import sys
import traceback
from pathlib import Path
from typing import Any


def text_of(value: object) -> str:
    """An output's text: texts as they are, other values as JSON. `ValueError` for one that is no Unicode or has a NUL."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text.encode("utf-8")
    if "\0" in text:
        raise ValueError("a variable cannot have a NUL character")
    return text


def exit_code(end: SystemExit) -> int:
    """The exit status that a SystemExit asks for, as the interpreter itself takes it."""
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    sys.stderr.write(str(end.code) + "\n")
    return 1


def execute(request: dict[str, Any], outputs: dict[str, object]) -> int:
    """Run the script; its exit status."""
    source, name = request["script"], request["name"]
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    scope = {"__name__": "__main__", "__file__": name, "params": request["params"], "outputs": outputs}
    sys.argv = [name, *request["args"]]
    sys.path[0] = str(Path.cwd())
    try:
        exec(compile(source, name, "exec"), scope)  # noqa: S102 - that is the step
    except SystemExit as end:
        return exit_code(end)
    except BaseException as error:  # noqa: BLE001 - as the interpreter does at its top
        trace = error.__traceback__.tb_next if error.__traceback__ else None
        traceback.print_exception(type(error), error, trace)
        return 1
    return 0


def main(directory: str) -> None:
    """Read the request, run the script, leave its outputs as the result."""
    with Path(directory, "request.json").open(encoding="utf-8") as file:
        request = json.load(file)
    outputs: dict[str, object] = {}
    code = execute(request, outputs)
    result: dict[str, object] = {}
    told: dict[str, str] = {}
    try:
        for name, value in outputs.items():
            told[str(name)] = text_of(value)
        result["outputs"] = told
    except (TypeError, ValueError) as error:
        result["error"] = f"outputs of the script: {name!r}: {error}"
    with Path(directory, "result.json").open("w", encoding="utf-8") as file:
        json.dump(result, file)
    sys.stdout.flush()
    sys.exit(code)


if __name__ == "__main__":
    main(sys.argv[-1])
