"""Containers in which steps run, of a DAG or of one step."""

from __future__ import annotations

from txdagu.dagfile.fields import Field, Fields, Level, alternatives, nearest, type_name
from txdagu.dagfile.shapes import SCALAR, SWITCH, VARIABLES, Schema, either, words
from txdagu.dagfile.values import read_env, read_strings
from txdagu.model.container import Container, PullPolicy
from txdagu.yamltree import Node, scalar_text

_LISTED: Schema = either(SCALAR, {"type": "array", "items": SCALAR})
_BESIDE_EXEC = ("exec", "user", "workingDir", "workDir", "env")
_PULL = {
    **{policy.value: policy for policy in PullPolicy},
    **dict.fromkeys(("true", "True", "TRUE", "t", "T", "1"), PullPolicy.ALWAYS),
    **dict.fromkeys(("false", "False", "FALSE", "f", "F", "0"), PullPolicy.NEVER),
}

CONTAINER = Level(
    "container",
    "container",
    (
        Field("image", SCALAR, "The image to make a container of."),
        Field("exec", SCALAR, "A running container to execute in, instead of `image`."),
        Field("name", SCALAR, "The container's name."),
        Field("pullPolicy", either(SWITCH, words(*_PULL)), "When the image is fetched.", PullPolicy.MISSING.value),
        Field("env", VARIABLES, "Variables in the container."),
        Field("volumes", _LISTED, "Volumes, as `host:container[:ro]`."),
        Field("user", SCALAR, "The user to be in the container."),
        Field("workingDir", SCALAR, "The working directory in the container."),
        Field("workDir", SCALAR, "The same as `workingDir`.", era="to 1.21", now="workingDir"),
        Field("platform", SCALAR, "The platform of the image, as `linux/amd64`."),
        Field("ports", _LISTED, "Published ports, as `8080:80`."),
        Field("network", SCALAR, "The network to be in."),
        Field("keepContainer", SWITCH, "Keep the container after the run.", False),
        Field("startup", words("keepalive", "entrypoint", "command"), "What runs in it beside the steps.", "keepalive"),
        Field("command", _LISTED, "What runs in it with `startup: command`."),
        Field("waitFor", words("running", "healthy"), "What steps wait for.", "running"),
        Field("logPattern", SCALAR, "A regular expression to wait for in its log."),
        Field("restartPolicy", SCALAR, "When it is started again: `no`, `always`, `unless-stopped`."),
    ),
    unknown="",
)
CONTAINERS = either({"type": "string"}, CONTAINER.reference)


def read_container(fields: Fields) -> Container | None:
    """The name of a running container, or a mapping with ``image`` or ``exec``."""
    node = fields.node("container")
    if node is None:
        return None
    if isinstance(node.value, str):
        if not node.value.strip():
            fields.problem("container", "container name cannot be empty")
        return Container(execute_in=node.value.strip())
    if not isinstance(node.value, dict):
        fields.problem("container", f"container must be a string or object, got {type_name(node)}")
        return None
    own = Fields(node, CONTAINER, fields.report, f"{fields.path}container.")
    image, execute_in = _text(own, "image"), _text(own, "exec")
    if image and execute_in:
        fields.problem("container", "'exec' and 'image' are mutually exclusive")
    elif not image and not execute_in:
        fields.problem("container", "either 'exec' or 'image' must be specified")
    elif execute_in and (others := [name for name in own if name not in _BESIDE_EXEC]):
        fields.problem("container", f"fields [{' '.join(others)}] cannot be used with 'exec'")
    return Container(
        image=image,
        execute_in=execute_in,
        name=_text(own, "name"),
        pull_policy=_pull_policy(own),
        env=read_env(own.node("env"), own.report),
        volumes=_texts(own, "volumes"),
        user=_text(own, "user"),
        working_dir=_text(own, "workingDir") or _text(own, "workDir"),
        platform=_text(own, "platform"),
        ports=_texts(own, "ports"),
        network=_text(own, "network"),
        keep=own.switch("keepContainer"),
        startup=_word(own, "startup"),
        command=_texts(own, "command"),
        wait_for=_word(own, "waitFor"),
        log_pattern=_text(own, "logPattern"),
        restart_policy=_text(own, "restartPolicy"),
    )


def _text(fields: Fields, name: str) -> str:
    """A text; numbers and booleans become one here."""
    node = fields.node(name)
    if node is None or isinstance(node.value, str | list | dict):
        return fields.text(name)
    return scalar_text(node.value)


def _word(fields: Fields, name: str) -> str:
    known = fields.level.named(name).schema["enum"]
    default: str = fields.level.named(name).default
    return fields.choice(name, f"invalid {name}: {{}} (must be {alternatives(known)})") or default


def _texts(fields: Fields, name: str) -> tuple[str, ...]:
    node = fields.node(name)
    if node is not None and not isinstance(node.value, str | list | dict):
        return (scalar_text(node.value),)
    return tuple(text for text, _ in read_strings(fields.path + name, node, fields.report))


def _pull_policy(fields: Fields) -> PullPolicy:
    node: Node | None = fields.node("pullPolicy")
    if node is None:
        return PullPolicy.MISSING
    text = scalar_text(node.value) if isinstance(node.value, str | bool | int) else ""
    if text not in _PULL:
        known = [policy.value for policy in PullPolicy]
        message = f"failed to parse pull policy: {node.text!r} is none (must be {alternatives(known)}, true or false)"
        fields.problem("pullPolicy", message, nearest(node.text, known))
    return _PULL.get(text, PullPolicy.MISSING)
