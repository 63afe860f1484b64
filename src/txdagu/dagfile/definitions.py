"""What a worker is sent to run a DAG of a file: the text of its document and of those that it calls."""

from __future__ import annotations

from txdagu.model.dag import Dag, Step
from txdagu.model.errors import InvalidInputError, NotFoundError
from txdagu.yamltree import Node, parse, where


def definition_for(dag: Dag, child: str) -> str:
    """
    A text of which `child`, one of the local DAGs of `dag`, is the main document.

    It carries all documents that `child` may call, directly or through others; where a name is only known when a step starts
    (``call: ${NAME}``), that is every document. Raises `NotFoundError` if there is no such document.
    """
    if child not in dag.local_dags:
        raise NotFoundError(f"the DAG {dag.name} has no document named {child!r}")
    needed: dict[str, None] = {}
    waiting = [child]
    while waiting:
        for name in _callable_from(dag.local_dags[waiting.pop()], dag):
            if name not in needed:
                needed[name] = None
                waiting.append(name)
    texts = [dag.local_dags[name].yaml_text for name in [child, *(name for name in dag.local_dags if name in needed)]]
    return "---\n".join(text if text.endswith("\n") else text + "\n" for text in texts)


def unknown_children(dag: Dag) -> list[tuple[Step, str]]:
    """
    The calls of `dag` and of its local DAGs that name no document of the file, each with the name.

    Such a name may be that of another file. Names that are only known when the step starts are left out.
    """
    return [
        (step, step.child.name)
        for caller in (dag, *dag.local_dags.values())
        for step in caller.steps
        if step.child is not None and not _is_computed(step.child.name) and step.child.name not in dag.local_dags
    ]


def name_in(text: str, otherwise: str) -> str:
    """
    The name that a file gives its main DAG, whatever else is wrong with the file; `otherwise` if it gives none.

    For those who ask about runs: these are kept under the name, and were not all started by a program that refuses the same.
    """
    try:
        documents = parse(text, otherwise)
    except InvalidInputError:
        return otherwise
    main = documents[0].value if documents else None
    named = main.get("name") if isinstance(main, dict) else None
    return named.value.strip() if named is not None and isinstance(named.value, str) else otherwise


def called_at(text: str, source: str, name: str) -> str:
    """Where the file first calls a DAG of that name, as ``file:line:column``; `source` alone if it does not."""
    waiting: list[Node] = parse(text, source)[::-1]
    while waiting:
        value = waiting.pop().value
        if isinstance(value, list):
            waiting.extend(reversed(value))
        elif isinstance(value, dict):
            for key, node in value.items():
                if key.lower() in ("call", "run") and node.value == name:
                    return where(source, node)
            waiting.extend(reversed(value.values()))
    return source


def _callable_from(caller: Dag, dag: Dag) -> list[str]:
    names = [step.child.name for step in caller.steps if step.child is not None]
    if any(map(_is_computed, names)):
        return list(dag.local_dags)
    return [name for name in names if name in dag.local_dags]


def _is_computed(name: str) -> bool:
    return "$" in name or "`" in name
