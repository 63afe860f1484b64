"""The step types that come with us and are no commands. The modules named here are imported only when a step needs them."""

from txdagu.execution.steps.plugin import StepType
from txdagu.model.steptypes import ARCHIVE, HTTP, JQ, MAIL, PYTHON

http = StepType("http", target="txdagu.execution.steps.http:run_http_step", traits=HTTP)
jq = StepType("jq", target="txdagu.execution.steps.jq:run_jq_step", traits=JQ)
mail = StepType("mail", target="txdagu.execution.steps.mail:run_mail_step", traits=MAIL)
archive = StepType("archive", target="txdagu.execution.steps.archive:run_archive_step", traits=ARCHIVE)
python = StepType("python", target="txdagu.execution.steps.python:run_python_step", traits=PYTHON)
