"""
The types of steps: by which names each is asked for, which of a step's fields it takes, and what its ``config`` holds.

`OTHER_TYPE` stands for all that are not listed here: others than Dagu's may be added to the engine, and what these take is for
them to say.
"""

from __future__ import annotations

from dataclasses import dataclass

from txdagu.dagfile.fields import Field, Level
from txdagu.dagfile.settings import SSH
from txdagu.dagfile.shapes import ANY_MAP, SWITCH, TEXT, TEXTS, WHOLE


@dataclass(frozen=True)
class StepType:
    """
    One type.

    `takes` names what a step of it may have: ``command``, ``several`` commands, ``script``, ``shell``, ``container`` (of the
    step's own), ``call``, ``messages``, ``params`` (without a call). `config` lists the keys of
    its ``config``. A step that `stays` runs where its run does, and has no ``workerSelector``.
    """

    names: tuple[str, ...]
    description: str
    takes: tuple[str, ...] = ()
    config: Level | None = None
    stays: bool = False


def _config(name: str, *fields: Field) -> Level:
    return Level(f"config of type {name}", f"{name}Config", fields, unknown="")


def _any(name: str, description: str) -> Field:
    return Field(name, {}, description)


_HTTP = _config(
    "http",
    Field("timeout", WHOLE, "Seconds that the request may take."),
    Field("headers", ANY_MAP, "Headers of the request."),
    Field("query", ANY_MAP, "Parameters that are appended to the address."),
    Field("body", TEXT, "The body of the request."),
    Field("silent", SWITCH, "Print the body alone, and only of a good answer.", False),
    Field("debug", SWITCH, "Print the request as well.", False),
    Field("json", SWITCH, "Print one JSON object with status, headers and body.", False),
    Field("skipTLSVerify", SWITCH, "Do not check the server's certificate.", False),
)
_JQ = _config("jq", Field("raw", SWITCH, "Print strings without quotes.", False))
_MAIL = _config(
    "mail",
    Field("from", TEXT, "The sender's address."),
    Field("to", TEXTS, "The recipients' addresses."),
    Field("subject", TEXT, "The subject."),
    Field("message", TEXT, "The text."),
    Field("attachments", TEXTS, "Files to attach."),
)
_DOCKER = _config(
    "docker",
    Field("image", TEXT, "The image to make a container of."),
    Field("containerName", TEXT, "The container's name, or that of a running one to execute in."),
    Field("pull", {"type": ["string", "boolean"]}, "When the image is fetched: `always`, `missing` or `never`."),
    Field("autoRemove", SWITCH, "Remove the container after the step."),
    Field("platform", TEXT, "The platform of the image."),
    Field("workingDir", TEXT, "The working directory in the container."),
    Field("volumes", TEXTS, "Volumes, as `host:container[:ro]`."),
    _any("container", "Settings of the container as Docker knows them."),
    _any("host", "Settings of the host as Docker knows them."),
    _any("network", "Settings of the network as Docker knows them."),
    _any("exec", "Settings of the command in a running container."),
)
_ARCHIVE = _config(
    "archive",
    Field("source", TEXT, "What is packed or unpacked."),
    Field("destination", TEXT, "Where it goes."),
    Field("format", TEXT, "The format, if the ending of the file does not say it."),
    Field("compressionLevel", WHOLE, "How hard to compress; -1 is the format's own choice.", -1),
    Field("password", TEXT, "The password of the archive."),
    Field("overwrite", SWITCH, "Replace files that exist.", False),
    Field("preservePaths", SWITCH, "Keep directories.", True),
    Field("stripComponents", WHOLE, "How many leading directories to drop.", 0),
    Field("include", TEXTS, "Only paths that match one of these."),
    Field("exclude", TEXTS, "No paths that match one of these."),
    Field("dryRun", SWITCH, "Only tell what would be done.", False),
    Field("verbose", SWITCH, "Tell each file.", False),
    Field("followSymlinks", SWITCH, "Pack what symbolic links lead to.", False),
    Field("verifyIntegrity", SWITCH, "Read the archive again.", False),
    Field("continueOnError", SWITCH, "Go on after a file that fails.", False),
)
_GHA = _config(
    "gha",
    Field("runner", TEXT, "The image that runs the action."),
    Field("autoRemove", SWITCH, "Remove the container after the step."),
    _any("network", "The network to be in."),
    _any("githubInstance", "The GitHub server."),
    _any("dockerSocket", "The socket of Docker."),
    _any("artifacts", "Where artifacts go."),
    _any("reuseContainers", "Keep containers for later steps."),
    _any("forceRebuild", "Build images anew."),
    _any("containerOptions", "Options of the container."),
    _any("privileged", "Run the container with all rights."),
    _any("capabilities", "Rights of the container."),
)
_HITL = _config(
    "hitl",
    Field("prompt", TEXT, "What is asked."),
    Field("input", TEXTS, "The values that an approval may bring."),
    Field("required", TEXTS, "Those of them that it must bring."),
)
_PYTHON = _config(
    "python",
    _any("interpreter", "The program that runs the script."),
    _any("args", "Arguments of the script."),
)
_SSH = Level("config of type ssh", "sshConfig", SSH.fields, unknown="")
COMMAND_TYPE = StepType(
    ("shell", "command"), "Runs commands or a script in a shell.", ("command", "several", "script", "shell")
)
CALL_TYPE = StepType(("dag", "subworkflow", "parallel"), "Runs another DAG.", ("call",))
OTHER_TYPE = StepType(
    (),
    "A type that was added to the engine.",
    ("command", "several", "script", "shell", "container", "messages", "params"),
)
STEP_TYPES = (
    COMMAND_TYPE,
    CALL_TYPE,
    StepType(
        ("docker", "container"),
        "Runs commands in a container.",
        ("command", "several", "container"),
        _DOCKER,
    ),
    StepType(("ssh",), "Runs commands on another host.", ("command", "several", "shell"), _SSH),
    StepType(
        ("http",),
        "Makes an HTTP request; the command is `METHOD url`.",
        ("command", "script"),
        _HTTP,
    ),
    StepType(
        ("jq",),
        "Queries JSON; the command is the query, the script the input.",
        ("command", "script"),
        _JQ,
    ),
    StepType(
        ("archive",),
        "Packs and unpacks; the command is `create`, `extract` or `list`.",
        ("command",),
        _ARCHIVE,
    ),
    StepType(("mail",), "Sends a mail.", config=_MAIL),
    StepType(("gha", "github_action", "github-action"), "Runs a GitHub action.", ("command", "params"), _GHA),
    StepType(("hitl",), "Waits for approval.", config=_HITL, stays=True),
    StepType(("chat",), "Talks with a language model.", ("messages",)),
    StepType(("python",), "Runs a Python script.", ("script",), _PYTHON),
)
TYPE_NAMES = tuple(name for one in STEP_TYPES for name in one.names)
_BY_NAME = {"": COMMAND_TYPE, **{name: one for one in STEP_TYPES for name in one.names}}


def step_type(name: str) -> StepType:
    """The type of that name; the empty name runs commands."""
    return _BY_NAME.get(name, OTHER_TYPE)
