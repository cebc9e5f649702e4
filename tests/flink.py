"""What tests need of Flink: whether it is here, a job server, and a cluster on this machine.

Cluster and job server come from the same jars: Flink's own processes are among them.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from beam_pipelines.runners import RunnerError
from beam_pipelines.runners.flink import java_and_jars, java_command, server_command
from beam_pipelines.runners.servers import answers
from tests.system import System, free_port, wait_for

_JOB_MANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
_TASK_MANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
# Small, only on loopback, and quick to notice a task manager that is gone.
_CONFIGURATION = """
jobmanager.rpc.address: 127.0.0.1
jobmanager.rpc.port: {rpc_port}
jobmanager.bind-host: 127.0.0.1
rest.address: 127.0.0.1
rest.bind-address: 127.0.0.1
rest.port: {rest_port}
taskmanager.host: 127.0.0.1
taskmanager.bind-host: 127.0.0.1
taskmanager.numberOfTaskSlots: 1
taskmanager.cpu.cores: 1.0
taskmanager.memory.framework.heap.size: 128mb
taskmanager.memory.framework.off-heap.size: 128mb
taskmanager.memory.task.heap.size: 256mb
taskmanager.memory.task.off-heap.size: 0mb
taskmanager.memory.network.min: 64mb
taskmanager.memory.network.max: 64mb
taskmanager.memory.managed.size: 64mb
taskmanager.memory.jvm-metaspace.size: 256mb
taskmanager.memory.jvm-overhead.min: 192mb
taskmanager.memory.jvm-overhead.max: 192mb
state.checkpoints.dir: file://{scratch}/checkpoints
heartbeat.interval: 1000
heartbeat.timeout: 10000
"""


def flink_or_skip() -> None:
    """Without Java or the jars (`make flink` gets them) the test is left out, and says why."""
    try:
        java_and_jars(os.environ.get("HEADWATER_FLINK_LIB", ""))
    except RunnerError as error:
        pytest.skip(str(error))


class Flink:
    """Processes of Flink that outlive a pipeline. Use as a context manager."""

    def __init__(self, scratch: Path) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self._scratch = scratch
        self._java, self._lib = java_and_jars(os.environ.get("HEADWATER_FLINK_LIB", ""))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.job_port, self.rest_port = free_port(), free_port()

    @property
    def endpoint(self) -> str:
        """Where jobs are handed in."""
        return f"127.0.0.1:{self.job_port}"

    def __enter__(self) -> Flink:
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._processes):
            self.kill(name)

    def start_job_server(self, master: str = "[local]") -> None:
        """With a Flink inside, or for the cluster's master."""
        scratch = tempfile.mkdtemp(dir=self._scratch)
        command = server_command(self._java, self._lib, self.job_port, scratch, master)
        self._start("job server", command)
        wait_for(lambda: answers(self.endpoint), seconds=120, what="job server")

    def start_cluster(self, task_managers: int) -> None:
        """A job manager, task managers `task manager 0` and so on, and a job server for them."""
        text = _CONFIGURATION.format(
            rpc_port=free_port(), rest_port=self.rest_port, scratch=self._scratch
        )
        (self._scratch / "flink-conf.yaml").write_text(text)
        at = f"--configDir={self._scratch}"
        java = java_command(self._java, self._lib, tempfile.mkdtemp(dir=self._scratch))
        self._start("job manager", [*java, _JOB_MANAGER, at, "--executionMode=cluster"])
        for number in range(task_managers):
            given = f"-Dtaskmanager.resource-id=task-manager-{number}"
            self._start(f"task manager {number}", [*java, _TASK_MANAGER, at, given])
        wait_for(
            lambda: self._look("/overview")["taskmanagers"] == task_managers,
            seconds=180,
            what="task managers",
        )
        self.start_job_server(f"127.0.0.1:{self.rest_port}")

    def busy_task_managers(self) -> list[str]:
        """Names of the task managers that work on something."""
        listed = self._look("/taskmanagers")["taskmanagers"]
        busy = [one["id"] for one in listed if one["freeSlots"] < one["slotsNumber"]]
        return [name.replace("-", " ") for name in busy]

    def cpu_s(self, name: str) -> float:
        """Processor time that a process has used so far."""
        stat = Path(f"/proc/{self._processes[name].pid}/stat").read_text()
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def kill(self, name: str) -> None:
        """kill -9."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def _look(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = System.get(f"http://127.0.0.1:{self.rest_port}{path}")
        return found

    def _start(self, name: str, command: list[str]) -> None:
        with (self._scratch / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
