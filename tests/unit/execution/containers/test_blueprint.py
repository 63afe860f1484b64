"""What container a step or DAG asks for. The requests were compared with those of Dagu 1.30.2."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.containers.blueprint import KEEPALIVE, DockerOptions, of_container, of_options
from txdagu.model.container import Container
from txdagu.model.errors import DaguError


class ContainerTests(SynchronousTestCase):
    def body(self, **fields: Any) -> dict[str, Any]:
        return of_container(Container(image="i", **fields), {"A": "step", "B": "1"}, "/work").for_command(("ls", "-l"))

    def test_alone(self) -> None:
        """The image and the words of the command; of a container nothing else has to be said."""
        self.assertEqual(of_container(Container(image="i"), {}, "/").for_command(()), {"Image": "i", "HostConfig": {}})

    def test_env(self) -> None:
        """The step's variables, and over them the container's."""
        self.assertEqual(self.body(env=("A=own", "C=x=y"))["Env"], ["A=own", "B=1", "C=x=y"])

    def test_volumes(self) -> None:
        """Paths are bound, relative ones from the working directory; other names are volumes."""
        host = self.body(volumes=("./v:/v:ro", "/abs:/e", "name:/n", "cache:/c:ro"))["HostConfig"]
        self.assertEqual(host["Binds"], ["/work/v:/v:ro", "/abs:/e:rw"])
        named = {"Type": "volume", "Source": "name", "Target": "/n"}
        cache = {"Type": "volume", "Source": "cache", "Target": "/c", "ReadOnly": True}
        self.assertEqual(host["Mounts"], [named, cache])

    def test_ports(self) -> None:
        """Published ports with their protocols and addresses; one alone gets a free port of the host."""
        body = self.body(ports=("8080:80", "127.0.0.1:9:9/udp", "70"))
        self.assertEqual(set(body["ExposedPorts"]), {"80/tcp", "9/udp", "70/tcp"})
        published = body["HostConfig"]["PortBindings"]
        self.assertEqual(published["80/tcp"], [{"HostIp": "0.0.0.0", "HostPort": "8080"}])
        self.assertEqual(published["9/udp"], [{"HostIp": "127.0.0.1", "HostPort": "9"}])
        self.assertEqual(published["70/tcp"][0]["HostPort"], "")

    def test_mistakes(self) -> None:
        """Volumes, ports and restart policies that are none are named, with what to write."""
        for fields, phrase in (
            ({"volumes": ("a:b:c:d",)}, "invalid volume format: a:b:c:d"),
            ({"volumes": ("one",)}, "invalid volume format: one"),
            ({"volumes": ("/a:/b:rx",)}, "invalid volume format"),
            ({"ports": ("x:y",)}, "invalid port: x:y"),
            ({"ports": ("80:70000",)}, "invalid port"),
            ({"restart_policy": "on-failure"}, "invalid restartPolicy: on-failure"),
        ):
            with self.assertRaisesRegex(DaguError, phrase):
                self.body(**fields)

    def test_company(self) -> None:
        """What runs beside the commands: nothing of the image's own, what is written, or what the image says."""
        plan = of_container(Container(image="i", restart_policy="always"), {}, "/")
        self.assertEqual(plan.for_company()["Entrypoint"], list(KEEPALIVE))
        self.assertEqual(plan.for_company()["HostConfig"], {"Init": True, "RestartPolicy": {"Name": "always"}})
        self.assertNotIn("RestartPolicy", plan.for_command(("x",))["HostConfig"])
        written = of_container(Container(image="i", startup="command", command=("serve", "-v")), {}, "/")
        self.assertEqual(written.for_company()["Cmd"], ["serve", "-v"])
        entry = of_container(Container(image="i", startup="entrypoint"), {}, "/").for_company()
        self.assertFalse({"Cmd", "Entrypoint"} & set(entry))
        with self.assertRaisesRegex(DaguError, "needs a command"):
            of_container(Container(image="i", startup="command"), {}, "/").for_company()

    def test_existing(self) -> None:
        """In a running container, user, directory and variables go with the command."""
        plan = of_container(Container(execute_in="c", user="u", working_dir="/d"), {"A": "1"}, "/")
        self.assertEqual((plan.name, plan.image), ("c", ""))
        self.assertEqual(plan.in_running, {"User": "u", "WorkingDir": "/d", "Env": ["A=1"]})


class OptionTests(SynchronousTestCase):
    def test_nested(self) -> None:
        """Settings of the API in any case of letters, merged with the short ones; volumes are added to binds."""
        options = DockerOptions(
            image="i",
            working_dir="/w",
            volumes=("/a:/b",),
            container={"env": ["A=own"], "workingdir": "/other", "hostname": "h", "Cmd": ["x"]},
            host={"binds": ["/c:/d:ro"], "networkMode": "none", "AutoRemove": True},
            network={"endpointsConfig": {"net": {}}},
        )
        plan = of_options(options, {"A": "step", "B": "1"}, "/")
        self.assertEqual(
            plan.for_command(()),
            {
                "Env": ["A=own", "B=1"],
                "WorkingDir": "/w",
                "hostname": "h",
                "Cmd": ["x"],
                "Image": "i",
                "HostConfig": {"Binds": ["/c:/d:ro", "/a:/b:rw"], "NetworkMode": "none"},
                "NetworkingConfig": {"EndpointsConfig": {"net": {}}},
            },
        )
        self.assertFalse(plan.keep)
        self.assertTrue(of_options(DockerOptions(image="i"), {}, "/").keep)

    def test_existing(self) -> None:
        """Options of the command in a running container; its variables may be a mapping."""
        execution = {"user": "u", "env": {"X": 1}, "privileged": True}
        plan = of_options(DockerOptions(container_name="c", execution=execution), {}, "/")
        self.assertEqual(plan.in_running, {"User": "u", "Env": ["X=1"], "Privileged": True})

    def test_mistakes(self) -> None:
        """Neither image nor name; options for a container that is not named."""
        with self.assertRaisesRegex(DaguError, "containerName or image must be specified"):
            of_options(DockerOptions(), {}, "/")
        with self.assertRaisesRegex(DaguError, "'exec' options require 'containerName'"):
            of_options(DockerOptions(image="i", execution={"user": "u"}), {}, "/")
