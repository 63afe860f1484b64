"""Makes the step type known to dagu."""

from txdagu.execution.steps.plugin import StepTraits, StepType

wait_for_port = StepType("wait-for-port", target="wait_for_port.step:run", traits=StepTraits(command=True))
