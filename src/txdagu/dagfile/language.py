"""
The language of DAG files: every field of a DAG and of a step, in one table.

Readers take defaults and limits from here, and the JSON Schema is made of it.
"""

from __future__ import annotations

import signal

from txdagu.dagfile.commands import OUTPUT, OUTPUTS
from txdagu.dagfile.conditions import CONDITION, CONDITIONS
from txdagu.dagfile.containers import CONTAINER, CONTAINERS
from txdagu.dagfile.fields import Field, Level
from txdagu.dagfile.mail import MAIL, MAIL_ON, SMTP
from txdagu.dagfile.parallel import PARALLEL, PARALLELS
from txdagu.dagfile.policies import CONTINUE, CONTINUE_ON, LOST, REPEAT, RETRY, WORKER_LOST
from txdagu.dagfile.secrets import SECRET, SECRETS
from txdagu.dagfile.settings import LLM, MESSAGE, MESSAGES, OTEL, REGISTRY_AUTHS, RUN_CONFIG, SSH, THINKING
from txdagu.dagfile.shapes import (
    ANY_MAP,
    AT_LEAST_ONE,
    AT_LEAST_ZERO,
    SCALAR,
    SWITCH,
    TEXT,
    TEXTS,
    VARIABLES,
    WHOLE,
    any_case,
    either,
    list_of,
    words,
)
from txdagu.dagfile.steptypes import STEP_TYPES
from txdagu.dagfile.values import PARAMS, PARAMS_SCHEMA, SCHEDULE, SCHEDULES
from txdagu.model.dag import DEFAULT_CLEAN_UP_SECONDS, DEFAULT_HISTORY_DAYS, DEFAULT_MAX_OUTPUT_SIZE
from txdagu.model.ids import DAG_NAME, MAX_DAG_NAME

SIGNALS = tuple(one.name for one in signal.Signals if not one.name.startswith("SIGRT"))
"""The signals that may stop a step."""

_SIGNAL = {"type": "string", "pattern": rf"^\s*({'|'.join(SIGNALS)})\s*$", "examples": list(SIGNALS)}
_NAME_LETTERS = DAG_NAME.pattern.removesuffix("+")
_DAG_NAME = {"type": "string", "pattern": rf"^\s*{_NAME_LETTERS}{{0,{MAX_DAG_NAME}}}\s*$"}
_SELECTOR = either(words("local"), {"type": "object", "additionalProperties": SCALAR})
_LOG_OUTPUT = either(any_case("separate", "merged"), words(""))
_COMMAND = either(TEXT, {"type": "array", "items": SCALAR, "minItems": 1})

_STEP_ITEM = either(TEXT, {"$ref": "#/$defs/step"})

EXECUTOR = Level(
    "executor",
    "executor",
    (Field("type", TEXT, "The step's type."), Field("config", ANY_MAP, "Options of the type.")),
    exact=True,
    unknown="executor has invalid key: {}",
)

STEP = Level(
    "step",
    "step",
    (
        Field("name", TEXT, "The step's name, at most 40 characters; made up where there is none."),
        Field(
            "id", {"type": "string", "pattern": "^ *([a-zA-Z][a-zA-Z0-9_-]*)? *$"}, "A word for references to the step."
        ),
        Field("description", TEXT, "What the step is for."),
        Field("command", _COMMAND, "The command to run; several lines are a script, a list is several commands."),
        Field("script", TEXT, "The script to run."),
        Field("shell", TEXTS, "The shell that runs it; the DAG's or the default shell where there is none."),
        Field("shellPackages", list_of(SCALAR), "Packages that nix-shell provides."),
        Field("workingDir", TEXT, "The working directory; relative to the DAG's."),
        Field("dir", TEXT, "The same as `workingDir`.", era="to 1.21", now="workingDir"),
        Field("env", VARIABLES, "Variables of the step alone."),
        Field("stdout", TEXT, "A file that takes the standard output besides the log."),
        Field("stderr", TEXT, "A file that takes the standard error besides the log."),
        Field("logOutput", _LOG_OUTPUT, "One log file for both outputs, or one each.", "separate"),
        Field("output", OUTPUTS, "The variable that takes the standard output."),
        Field("depends", TEXTS, "Names or ids of the steps to wait for; `[]` waits for none."),
        Field("preconditions", CONDITIONS, "What must hold for the step to run."),
        Field(
            "precondition",
            CONDITIONS,
            "The same as `preconditions`.",
            era="to 1.17",
            now="preconditions",
        ),
        Field("continueOn", CONTINUE, "When others go on although this step did not succeed."),
        Field("retryPolicy", RETRY.reference, "How often a failed step is tried again."),
        Field("repeatPolicy", REPEAT.reference, "How often the step is repeated."),
        Field("timeoutSec", AT_LEAST_ZERO, "Seconds that the step may take; 0 is no limit.", 0),
        Field("signalOnStop", _SIGNAL, "The signal that stops it, as `SIGINT`."),
        Field("mailOnError", SWITCH, "Mail by `errorMail` if the step fails.", False),
        Field("call", TEXT, "The DAG to run: a document of this file, or another file."),
        Field("run", TEXT, "The same as `call`.", era="to 1.22", now="call"),
        Field("params", PARAMS, "Params of the called DAG, or inputs of a GitHub action."),
        Field("parallel", PARALLELS, "Items, for each of which the DAG is called."),
        Field(
            "workerSelector", _SELECTOR, "Labels of the workers that may run the step or the called DAG; `local`: none."
        ),
        Field("container", CONTAINERS, "The container in which the step runs."),
        Field("type", TEXT, "The step's type; empty for commands and scripts.", era="since 1.28"),
        Field("config", ANY_MAP, "Options of the type.", era="since 1.28"),
        Field("executor", either(TEXT, EXECUTOR.reference), "The type, or type and config.", era="to 1.29", now="type"),
        Field("llm", LLM.reference, "The language model of a chat step."),
        Field("messages", MESSAGES, "What a chat step says."),
    ),
)

HANDLERS = Level(
    "handlerOn",
    "handlerOn",
    (
        Field("init", STEP.reference, "Runs before the steps.", era="since 1.26"),
        Field("success", STEP.reference, "Runs after a run that succeeded."),
        Field("failure", STEP.reference, "Runs after a run that failed."),
        Field("abort", STEP.reference, "Runs after a run that was stopped.", era="since 1.26"),
        Field("cancel", STEP.reference, "The same as `abort`.", era="to 1.25", now="abort"),
        Field("exit", STEP.reference, "Runs after every run, as the last."),
        Field("wait", STEP.reference, "Runs when the run waits for approval.", era="since 1.28"),
    ),
)

DAG = Level(
    "DAG",
    "dag",
    (
        Field(
            "name", _DAG_NAME, f"The DAG's name, at most {MAX_DAG_NAME} characters; else the file's without its ending."
        ),
        Field("group", TEXT, "A group of DAGs, for pages."),
        Field("description", TEXT, "What the DAG is for."),
        Field("type", words("", "chain", "graph"), "`chain`: steps run in turn; `graph`: by `depends` alone.", "chain"),
        Field("tags", TEXTS, "Words to find the DAG by; a text is split at commas."),
        Field("schedule", SCHEDULES, "Cron expressions: when runs start.", for_scheduler=True),
        Field("skipIfSuccessful", SWITCH, "No run if one succeeded since it was due.", False, for_scheduler=True),
        Field("params", PARAMS, "Params with their defaults."),
        Field("env", VARIABLES, "Variables of all steps."),
        Field("dotenv", TEXTS, "Files with variables; `[]` switches them off.", ".env"),
        Field("secrets", SECRETS, "Variables whose values are kept out of logs.", era="since 1.23"),
        Field("workingDir", TEXT, "The working directory; relative to the file."),
        Field("shell", TEXTS, "The shell that runs steps.", era="since 1.28"),
        Field("logDir", TEXT, "The directory of the log files."),
        Field(
            "logOutput",
            _LOG_OUTPUT,
            "One log file for both outputs of a step, or one each.",
            "separate",
            era="since 1.28",
        ),
        Field("histRetentionDays", WHOLE, "Days that runs are kept.", DEFAULT_HISTORY_DAYS),
        Field("timeoutSec", AT_LEAST_ZERO, "Seconds that a run may take; 0 is no limit.", 0),
        Field("delaySec", AT_LEAST_ZERO, "Seconds between the starts of steps.", 0),
        Field("restartWaitSec", AT_LEAST_ZERO, "Seconds between stop and start of a restart.", 0, for_scheduler=True),
        Field("maxActiveRuns", WHOLE, "How many runs at once; below 0 switches queueing off.", 1),
        Field("maxActiveSteps", AT_LEAST_ZERO, "How many steps of a run at once; 0 is no limit.", 0),
        Field("maxCleanUpTimeSec", AT_LEAST_ZERO, "Seconds from stop to kill.", DEFAULT_CLEAN_UP_SECONDS),
        Field("maxOutputSize", AT_LEAST_ONE, "Bytes that an output may have.", DEFAULT_MAX_OUTPUT_SIZE),
        Field("queue", TEXT, "The queue of its runs; else one with the DAG's name."),
        Field("preconditions", CONDITIONS, "What must hold for the steps to run."),
        Field(
            "precondition",
            CONDITIONS,
            "The same as `preconditions`.",
            era="to 1.17",
            now="preconditions",
        ),
        Field("handlerOn", HANDLERS.reference, "Steps that run at certain points of a run."),
        Field("mailOn", MAIL_ON.reference, "At which ends of a run mail is sent."),
        Field("errorMail", MAIL.reference, "Mail about failed runs."),
        Field("infoMail", MAIL.reference, "Mail about runs that succeeded."),
        Field("waitMail", MAIL.reference, "Mail about runs that wait for approval."),
        Field("smtp", SMTP.reference, "The mail server."),
        Field("container", CONTAINERS, "The container in which steps run."),
        Field("registryAuths", REGISTRY_AUTHS, "Credentials for registries of images."),
        Field("ssh", SSH.reference, "How ssh steps log in."),
        Field("llm", LLM.reference, "The language model of chat steps.", era="since 1.28"),
        Field("otel", OTEL.reference, "Traces of runs."),
        Field("workerSelector", _SELECTOR, "Labels of the workers that may run the DAG; `local`: none."),
        Field("onWorkerLost", LOST, "What becomes of a run whose worker is lost; not a word of Dagu's."),
        Field("runConfig", RUN_CONFIG.reference, "What a page lets its users change."),
        Field(
            "steps",
            either(
                list_of(either(_STEP_ITEM, list_of(_STEP_ITEM))),
                {"type": "object", "additionalProperties": STEP.reference},
            ),
            "The steps: a list, in which a list is a group that runs in parallel, or a mapping by name.",
        ),
        Field("command", _COMMAND, "What steps run that say nothing themselves; not a word of Dagu's at this place."),
    ),
)

LEVELS = (
    DAG,
    STEP,
    HANDLERS,
    EXECUTOR,
    CONDITION,
    CONTINUE_ON,
    RETRY,
    REPEAT,
    WORKER_LOST,
    OUTPUT,
    PARALLEL,
    SCHEDULE,
    PARAMS_SCHEMA,
    SECRET,
    MAIL_ON,
    MAIL,
    SMTP,
    CONTAINER,
    SSH,
    OTEL,
    RUN_CONFIG,
    LLM,
    THINKING,
    MESSAGE,
    *(one.config for one in STEP_TYPES if one.config is not None),
)
