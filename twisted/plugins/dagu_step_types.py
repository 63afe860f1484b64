"""The step types that come with us and are no commands. The modules named here are imported only when a step needs them."""

from txdagu.execution.steps.plugin import StepTraits, StepType

_STEPS = "txdagu.execution.steps"

http = StepType("http", target=f"{_STEPS}.http:run_http_step", traits=StepTraits(command=True, script=True))
jq = StepType("jq", target=f"{_STEPS}.jq:run_jq_step", traits=StepTraits(command=True, script=True))
mail = StepType("mail", target=f"{_STEPS}.mail:run_mail_step", traits=StepTraits())
archive = StepType("archive", target=f"{_STEPS}.archive:run_archive_step", traits=StepTraits(command=True))
python = StepType("python", target=f"{_STEPS}.python:run_python_step", traits=StepTraits(script=True))
hitl = StepType("hitl", target=f"{_STEPS}.hitl:run_hitl_step", traits=StepTraits())
