"""The step types that come with us and are no commands. The modules named here are imported only when a step needs them."""

from txdagu.execution.steps.plugin import StepTraits, StepType

_STEPS = "txdagu.execution.steps"

http = StepType("http", target=f"{_STEPS}.http:run_http_step", traits=StepTraits(command=True, script=True))
jq = StepType("jq", target=f"{_STEPS}.jq:run_jq_step", traits=StepTraits(command=True, script=True))
mail = StepType("mail", target=f"{_STEPS}.mail:run_mail_step", traits=StepTraits())
archive = StepType("archive", target=f"{_STEPS}.archive:run_archive_step", traits=StepTraits(command=True))
container = StepType(
    "docker",
    "container",
    target=f"{_STEPS}.container:run_container_step",
    traits=StepTraits(command=True, several_commands=True, container=True),
)
python = StepType("python", target=f"{_STEPS}.python:run_python_step", traits=StepTraits(script=True))
ssh = StepType(
    "ssh",
    target=f"{_STEPS}.ssh.step:run_ssh_step",
    traits=StepTraits(command=True, several_commands=True, shell=True),  # noqa: S604 - a trait
)
chat = StepType("chat", target=f"{_STEPS}.chat.step:run_chat_step", traits=StepTraits())
gha = StepType(
    "gha", "github_action", "github-action", target=f"{_STEPS}.gha:run_gha_step", traits=StepTraits(command=True)
)
hitl = StepType("hitl", target=f"{_STEPS}.hitl:run_hitl_step", traits=StepTraits())
