"""Snapshots of DAGs."""

from __future__ import annotations

import base64
import json
import string
from dataclasses import replace
from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st

from txdagu.model.conditions import Condition
from txdagu.model.container import Container, PullPolicy
from txdagu.model.dag import (
    ChildCall,
    Command,
    Dag,
    Handler,
    LogOutput,
    Output,
    Parallel,
    ParamsSchema,
    Secret,
    Step,
)
from txdagu.model.labels import WorkerSelector
from txdagu.model.mail import MailAddressing, MailOn, SmtpServer
from txdagu.model.policies import ContinueOn, LostWorkerPolicy, OnWorkerLost, RepeatMode, RepeatPolicy, RetryPolicy
from txdagu.store.dagjson import decode_dag, encode_dag, liveness_names, params_list
from txdagu.store.errors import CorruptRecordError

words = st.text(st.characters(codec="utf-8"), max_size=10)
names = st.text(string.ascii_letters, min_size=1, max_size=8)
texts = st.lists(words, max_size=2).map(tuple)
selectors = st.dictionaries(words, words, max_size=2).map(WorkerSelector) | st.just(WorkerSelector(local=True))
seconds = st.integers(0, 10_000)
codes = st.lists(st.integers(-1, 255), max_size=2).map(tuple)
conditions = st.builds(Condition, text=names, expected=words, negate=st.booleans())
backoffs = st.sampled_from([0.0, 1.5, 2.0])
settings = st.dictionaries(names, words | st.integers(0, 9) | st.booleans(), max_size=2)
mails = st.builds(MailAddressing, sender=words, to=texts, prefix=words, attach_logs=st.booleans())
containers = st.builds(
    Container,
    image=names,
    name=words,
    pull_policy=st.sampled_from(PullPolicy),
    env=texts,
    volumes=texts,
    user=words,
    working_dir=words,
    ports=texts,
    keep=st.booleans(),
    startup=st.sampled_from(["keepalive", "entrypoint", "command"]),
    command=texts,
    wait_for=st.sampled_from(["running", "healthy"]),
    restart_policy=words,
) | st.builds(Container, execute_in=names, user=words)
items = st.lists(words | st.dictionaries(names, words, min_size=1, max_size=2), min_size=1, max_size=2).map(tuple)
parallels = st.builds(Parallel, items=items, max_concurrent=st.integers(1, 9)) | st.builds(Parallel, variable=names)
steps = st.builds(
    Step,
    name=names,
    type=st.sampled_from(["", "http", "jq"]),
    config=settings,
    params=st.sampled_from(["", 'x="y"', '"one" "two" K="v"']),
    preconditions=st.lists(conditions, max_size=2).map(tuple),
    continue_on=st.builds(ContinueOn, st.booleans(), st.booleans(), codes, texts, st.booleans()),
    retry_policy=st.none()
    | st.builds(RetryPolicy, st.integers(1, 9) | names, seconds | names, codes, backoffs, seconds),
    repeat_policy=st.none()
    | st.builds(
        RepeatPolicy, st.sampled_from(RepeatMode), st.none() | conditions, codes, seconds, seconds, backoffs, seconds
    ),
    timeout_seconds=seconds,
    signal_on_stop=st.sampled_from(["", "SIGINT"]),
    mail_on_error=st.booleans(),
    stdout=words,
    stderr=words,
    log_output=st.none() | st.sampled_from(LogOutput),
    shell_packages=texts,
    container=st.none() | containers,
    llm=settings,
    messages=st.lists(st.fixed_dictionaries({"role": names, "content": words}), max_size=2).map(tuple),
    commands=st.lists(st.builds(Command, text=names, program=names, args=texts), max_size=2).map(tuple),
    script=words,
    shell=words,
    env=texts,
    output=st.none() | st.builds(Output, name=names, key=words, omit=st.booleans()),
    depends=texts,
    worker_selector=selectors,
)
calls = st.builds(
    Step, name=names, child=st.builds(ChildCall, name=names, params=words), parallel=st.none() | parallels
)


def dags(local: st.SearchStrategy[dict[str, Dag]]) -> st.SearchStrategy[Dag]:
    """DAGs with such local DAGs."""
    return st.builds(
        Dag,
        name=names,
        steps=st.lists(steps | calls, max_size=2).map(tuple),
        stop_schedule=texts,
        restart_schedule=texts,
        skip_if_successful=st.booleans(),
        params_schema=st.none() | st.builds(ParamsSchema, words),
        on_worker_lost=st.builds(OnWorkerLost, st.sampled_from(LostWorkerPolicy), st.integers(1, 9)),
        dotenv=st.just(()) | st.sets(names, max_size=2).map(lambda more: (".env", *sorted(more))),
        secrets=st.lists(
            st.builds(Secret, names, names, words, st.dictionaries(names, words, max_size=1)), max_size=1
        ).map(tuple),
        log_output=st.sampled_from(LogOutput),
        timeout_seconds=seconds,
        delay_seconds=seconds,
        restart_wait_seconds=seconds,
        preconditions=st.lists(conditions, max_size=2).map(tuple),
        handlers=st.dictionaries(st.sampled_from(Handler), steps, max_size=1),
        mail_on=st.builds(MailOn, st.booleans(), st.booleans(), st.booleans()),
        error_mail=mails,
        info_mail=mails,
        wait_mail=mails,
        smtp=st.none() | st.builds(SmtpServer, host=names, port=words, username=words, password=words),
        container=st.none() | containers,
        registry_auths=st.dictionaries(names, settings, max_size=1),
        ssh=st.just({}) | st.fixed_dictionaries({"host": words, "port": words, "strictHostKey": st.booleans()}),
        llm=settings,
        otel=st.just({})
        | st.fixed_dictionaries({"enabled": st.booleans(), "timeout": st.sampled_from(["1.5s", "90s"])}),
        run_config=st.dictionaries(names, st.booleans(), max_size=1),
        type=st.sampled_from(["chain", "graph"]),
        group=words,
        description=words,
        tags=texts,
        schedule=texts,
        params=words,
        env=texts,
        shell=words,
        shell_args=texts,
        working_dir=words,
        base_dir=names.map(lambda name: "/" + name),
        log_dir=words,
        queue=words,
        max_active_runs=st.integers(-1, 100),
        max_active_steps=st.integers(0, 100),
        hist_retention_days=st.integers(-1, 1000).filter(bool),
        max_clean_up_seconds=st.integers(0, 1000),
        max_output_size=st.integers(1, 2**30),
        worker_selector=selectors,
        local_dags=local,
        yaml_text=words,
        location=st.sampled_from(["", "/srv/dags/a.yaml"]),
    )


REAL = (
    '{"workingDir":"/tmp","name":"sample.v1","type":"graph","shell":"/bin/bash","shellArgs":["-x"],"dotenv":[".env"],'
    '"tags":["a","b"],"description":"A sample","schedule":[{"expression":"0 1 * * *"}],"env":["X=1"],'
    '"logOutput":"separate","defaultParams":"FOO=\\"bar\\" NUM=\\"2\\"","params":["FOO=bar","NUM=2"],'
    '"paramsJSON":"{\\"FOO\\":\\"bar\\",\\"NUM\\":\\"2\\"}","steps":[{"id":"o1","name":"one","description":"d",'
    '"executorConfig":{},"commands":[{"command":"echo","args":["hello"],"cmdWithArgs":"echo hello"}],"output":"ONE_OUT",'
    '"env":["Y=z"]},{"name":"two","shell":"bash","dir":"/tmp","executorConfig":{},"script":"echo script",'
    '"output":"TWO_OUT","outputKey":"twoKey","depends":["one"]},{"name":"sub","executorConfig":{"type":"dag"},'
    '"output":"SUB","childDag":{"name":"child","params":"P=\\"5\\""},"params":{"P":"5"}},{"name":"prog",'
    '"executorConfig":{},"script":"print(1)","commands":[{"command":"python3","cmdWithArgs":"python3"}]}],'
    '"maxActiveRuns":1,"maxCleanUpTime":5000000000,"histRetentionDays":30,"queue":"qq","maxOutputSize":1048576,'
    '"workerSelector":{"gpu":"true"},"localDAGs":{"child":{"workingDir":"/tmp","name":"child","type":"chain",'
    '"defaultParams":"P=\\"1\\"","steps":[{"name":"c1","executorConfig":{},"commands":[{"command":"echo","args":["$P"],'
    '"cmdWithArgs":"echo $P"}],"output":"R"}],"maxActiveRuns":1}},"yamlData":"bmFtZTogc2FtcGxlLnYxCg=="}'
)


class SnapshotsTests(TestCase):
    """Encoding and decoding."""

    @given(dags(st.dictionaries(names, dags(st.just({})), max_size=2)))
    def test_round_trip(self, dag: Dag) -> None:
        """Every DAG comes back as it was, from one line."""
        data = encode_dag(dag, params_list(dag.params), "/srv")
        self.assertNotIn(b"\n", data)
        self.assertEqual(decode_dag(data, "dag.json"), dag)

    def test_real_snapshot(self) -> None:
        """A snapshot that Dagu 1.30.2 wrote can be executed again."""
        self.assertEqual(
            decode_dag(REAL.encode(), "dag.json"),
            Dag(
                name="sample.v1",
                type="graph",
                working_dir="/tmp",
                base_dir="/tmp",
                shell="/bin/bash",
                shell_args=("-x",),
                tags=("a", "b"),
                description="A sample",
                schedule=("0 1 * * *",),
                env=("X=1",),
                params='FOO="bar" NUM="2"',
                queue="qq",
                worker_selector=WorkerSelector({"gpu": "true"}),
                yaml_text="name: sample.v1\n",
                steps=(
                    Step(
                        "one",
                        id="o1",
                        description="d",
                        commands=(Command("echo hello", "echo", ("hello",)),),
                        output=Output("ONE_OUT"),
                        env=("Y=z",),
                    ),
                    Step(
                        "two",
                        shell="bash",
                        dir="/tmp",
                        script="echo script",
                        output=Output("TWO_OUT", "twoKey"),
                        depends=("one",),
                    ),
                    Step("sub", output=Output("SUB"), child=ChildCall("child", 'P="5"')),
                    Step("prog", script="print(1)", commands=(Command("python3", "python3"),)),
                ),
                local_dags={
                    "child": Dag(
                        "child",
                        (Step("c1", commands=(Command("echo $P", "echo", ("$P",)),), output=Output("R")),),
                        params='P="1"',
                        dotenv=(),
                        working_dir="/tmp",
                        base_dir="/tmp",
                    )
                },
            ),
        )

    def test_required_keys(self) -> None:
        """Keys that Dagu does not fill in when it reads a snapshot are written even for the barest DAG."""
        document = json.loads(encode_dag(Dag("bare", hist_retention_days=0), (), "/srv/data"))
        document.pop("txdagu")
        self.assertEqual(
            document,
            {
                "workingDir": "/srv/data",
                "name": "bare",
                "type": "chain",
                "dotenv": [".env"],
                "logOutput": "separate",
                "steps": [],
                "maxActiveRuns": 1,
                "maxCleanUpTime": 5_000_000_000,
                "histRetentionDays": 30,
                "maxOutputSize": 1048576,
            },
        )

    def test_written_as_dagu_reads_it(self) -> None:
        """Relative directories are resolved, labels alone make a selector, the source is base64, params are listed."""
        dag = Dag(
            "d",
            (Step("s", worker_selector=WorkerSelector(local=True)),),
            working_dir="work",
            base_dir="/srv/dags",
            worker_selector=WorkerSelector(local=True),
            yaml_text="name: d\n",
        )
        document = json.loads(encode_dag(dag, ("FOO=bar", "1=x=y"), "/srv/data"))
        self.assertEqual(document["workingDir"], "/srv/dags/work")
        self.assertNotIn("workerSelector", document)
        self.assertNotIn("workerSelector", document["steps"][0])
        self.assertEqual(base64.b64decode(document["yamlData"]), b"name: d\n")
        self.assertEqual(document["params"], ["FOO=bar", "1=x=y"])
        self.assertEqual(json.loads(document["paramsJSON"]), {"FOO": "bar", "1": "x=y"})
        tilde = replace(dag, working_dir="~/work")
        self.assertEqual(json.loads(encode_dag(tilde, (), "/srv"))["workingDir"], "~/work")

    def test_params_list(self) -> None:
        """Bare params are named by their position among all of them."""
        self.assertEqual(params_list('P=5 Q="a b" c "d e=f"'), ("P=5", "Q=a b", "3=c", "4=d e=f"))
        self.assertEqual(params_list("[true]"), ())

    def test_legacy_command(self) -> None:
        """Steps of older snapshots, with one command in three keys, are read; words that a shell would split are quoted."""
        for keys, expected in (
            ('"command":"echo","args":["a b","$X"],"cmdWithArgs":"echo \'a b\' $X"', "echo 'a b' $X"),
            ('"command":"echo","args":["a b","$X"]', "echo 'a b' $X"),
            ('"cmdArgsSys":"echo a"', "echo a"),
        ):
            dag = decode_dag(f'{{"name":"d","steps":[{{"name":"s",{keys}}}]}}'.encode(), "dag.json")
            self.assertEqual([command.text for command in dag.steps[0].commands], [expected])

    def test_written_with_dagus_keys(self) -> None:
        """Durations are nanoseconds, pull policies numbers, and texts of numbers stand under keys of their own."""
        step = Step(
            "s",
            retry_policy=RetryPolicy(2, "${WAIT}", (1,), 2.0, 60),
            repeat_policy=RepeatPolicy(RepeatMode.UNTIL, Condition("x", "y"), interval=3),
            timeout_seconds=5,
            container=Container(image="alpine", pull_policy=PullPolicy.NEVER),
            params='"one" K="v"',
        )
        dag = Dag(
            "d",
            (step, Step("c", child=ChildCall("k"), parallel=Parallel(items=("a", {"k": "v"})))),
            handlers={Handler.ABORT: Step("onCancel")},
            registry_auths={"ghcr.io": "token"},
            ssh={"host": "h"},
            otel={"timeout": "1m30s"},
        )
        document = json.loads(encode_dag(dag, (), "/srv"))
        first, second = document["steps"]
        self.assertEqual(
            first["retryPolicy"],
            {"limit": 2, "intervalSecStr": "${WAIT}", "exitCode": [1], "backoff": 2.0, "maxInterval": 60 * 10**9},
        )
        self.assertEqual(
            first["repeatPolicy"],
            {"repeatMode": "until", "interval": 3 * 10**9, "condition": {"condition": "x", "expected": "y"}},
        )
        self.assertEqual((first["timeout"], first["params"]), (5 * 10**9, {"": "one", "K": "v"}))
        self.assertEqual((first["container"]["Image"], first["container"]["PullPolicy"]), ("alpine", 1))
        self.assertEqual(second["executorConfig"], {"type": "parallel"})
        self.assertEqual(second["parallel"], {"items": [{"value": "a"}, {"params": {"k": "v"}}], "maxConcurrent": 10})
        self.assertEqual(document["handlerOn"], {"cancel": {"name": "onCancel"}})
        self.assertEqual(document["registryAuths"], {"ghcr.io": {"auth": "token"}})
        self.assertEqual(document["ssh"], {"port": "22", "strictHostKey": True, "host": "h"})
        self.assertEqual(document["otel"], {"timeout": 90 * 10**9})

    def test_older_keys(self) -> None:
        """A repetition of Dagu 1.17 is read, and a container's older key for its directory."""
        dag = decode_dag(
            b'{"name":"d","steps":[{"name":"s","repeatPolicy":{"repeat":true,"interval":1000000000},'
            b'"container":{"Image":"a","WorkDir":"/w"}}]}',
            "dag.json",
        )
        self.assertEqual(dag.steps[0].repeat_policy, RepeatPolicy(RepeatMode.WHILE, interval=1))
        self.assertEqual(dag.steps[0].container, Container(image="a", working_dir="/w"))

    def test_empty_policies_are_nothing_to_refuse(self) -> None:
        """Keys that are there but empty ask for nothing."""
        dag = decode_dag(
            b'{"name":"d","handlerOn":{},"preconditions":[],"steps":[{"name":"a","retryPolicy":{},"repeatPolicy":{},'
            b'"continueOn":null,"executorConfig":{"type":""}}]}',
            "dag.json",
        )
        self.assertEqual(dag.steps, (Step("a"),))

    def test_corrupt(self) -> None:
        """Anything that is no snapshot is an error that names the file."""
        for data in (
            b"",
            b"{",
            b"[]",
            b'{"name":7}',
            b'{"name":"d","steps":[{"name":"s","timeout":"5s"}]}',
            b'{"name":"d","logOutput":"both"}',
            b'{"name":"d","handlerOn":{"never":{"name":"x"}}}',
            b'{"name":"d","steps":[{"name":"s","repeatPolicy":{"repeatMode":"if"}}]}',
            b'{"yamlData":"%"}',
        ):
            with self.assertRaisesRegex(CorruptRecordError, "/x/dag.json"):
                decode_dag(data, "/x/dag.json")

    def test_liveness_names(self) -> None:
        """Queue and name are found whatever else the snapshot asks for."""
        self.assertEqual(liveness_names(b'{"name":"d","queue":"q","timeout":1}', "p"), ("q", "d"))
        self.assertEqual(liveness_names(b'{"name":"d"}', "p"), ("d", "d"))
        with self.assertRaises(CorruptRecordError):
            liveness_names(b"{", "p")
