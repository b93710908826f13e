"""How is one broker run, killed, frozen and brought back? As a child process, by its pid.

A broker never outlives us. `atexit` and `finally` do not run when Python is killed with -9, a
`preexec_fn` with PR_SET_PDEATHSIG is unsafe beside threads, exists on Linux only, and fires when
the starting *thread* ends. So each broker has a watchdog: a shell that waits on a pipe from us.
However we die, the system closes the pipe, and the shell kills the broker.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from kafka_node.errors import KafkaStartError, PortTakenError, StartCancelledError
from kafka_node.jars import HERE, JavaKafka

# Measured on two cores: 1.1-2.2 s for one node, 3.4-5 s for three. The rest is for a machine that
# is busy with something else.
READY_TIMEOUT_S = 60.0

# Measured: 0.2 s for one node; 5.4 s for three at once, where the last one gives the others five
# seconds to take over from it. A broker whose controllers are gone would wait for minutes.
STOP_TIMEOUT_S = 8.0

READY = b"Kafka Server started"
PORT_TAKEN = b"Address already in use"

# The first line is the broker's pid; a second one means that it has ended in an orderly way.
WATCHDOG = 'read -r pid || exit 0; read -r done || kill -9 "$pid" 2>/dev/null; exit 0'

JVM_OPTIONS = (
    "-Xms128m",
    "-Xmx256m",
    # One small heap on a machine with few cores: the default collector and the second compiler
    # cost more start-up time than they ever give back here.
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-Djava.awt.headless=true",
    f"-Dlog4j2.configurationFile={(HERE / 'log4j2.properties').as_uri()}",
)


class KafkaNode:
    """One broker (and controller): its folder, its ports and, while it runs, its process."""

    def __init__(
        self,
        node_id: int,
        *,
        kafka: JavaKafka,
        folder: Path,
        port: int,
        controller_port: int,
        train_into: Path | None = None,
    ) -> None:
        self.node_id = node_id
        self.folder = folder
        self.port = port
        self.controller_port = controller_port
        self.log_path = folder / "node.log"
        """All that the broker wrote, over all its lives."""
        self._kafka = kafka
        self._train_into = train_into
        self._log_start = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where clients connect to this node: "127.0.0.1:PORT"."""
        return f"127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        """Whether the process lives; a paused one does."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The broker's process id.

        Raises:
            KafkaStartError: It does not run.
        """
        if self._process is None or not self.running:
            raise KafkaStartError(f"node {self.node_id} does not run; call start() first")
        return self._process.pid

    @property
    def formatted(self) -> bool:
        """Whether the folder holds a broker's data already."""
        return (self.folder / "data" / "meta.properties").is_file()

    def begin_format(self, cluster_id: str, properties: dict[str, str]) -> subprocess.Popen[bytes]:
        """Write the settings and begin to format the storage; the caller waits for the process."""
        self.write_settings(properties)
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                [
                    *self._java(),
                    "kafka.tools.StorageTool",
                    *("format", "-t", cluster_id, "-c", str(self.settings_path)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def settings_path(self) -> Path:
        return self.folder / "server.properties"

    def write_settings(self, properties: dict[str, str]) -> None:
        """Write server.properties; they hold from the next start on."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # In a properties file a backslash begins an escape.
        lines = [f"{key}={value}\n".replace("\\", "\\\\") for key, value in properties.items()]
        self.settings_path.write_text("".join(lines), encoding="utf-8")

    def start(self, *, wait: bool = True) -> None:
        """Start the broker on its own data and ports; does nothing while it runs.

        Args:
            wait: Return when it serves clients. With False, call `wait_until_ready` later: of three
                nodes none is ready before two of them run.

        Raises:
            PortTakenError: Another process listens on one of its ports.
            KafkaStartError: It ended, or was not ready in time; the log's tail says why.
        """
        if not self.running:
            self._spawn()
        if wait:
            self.wait_until_ready()

    def _spawn(self) -> None:
        self._reap()
        self._log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        # A session of their own: Ctrl-C in a terminal then reaches Python alone, which stops the
        # broker in order, and nobody who signals our process group can take the watchdog first.
        watchdog = subprocess.Popen(
            ["/bin/sh", "-c", WATCHDOG],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._watchdog = watchdog
        java, *options = self._java()
        if self._train_into is not None:
            options = [f"-XX:ArchiveClassesAtExit={self._train_into}", *options]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [java, *options, "kafka.Kafka", str(self.settings_path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Java leaves its crash reports in the folder it runs in.
                cwd=self.folder,
                start_new_session=True,
            )
        if watchdog.stdin is not None:
            watchdog.stdin.write(b"%d\n" % self._process.pid)
            watchdog.stdin.flush()

    def wait_until_ready(
        self,
        timeout_s: float = READY_TIMEOUT_S,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Return when the broker says that it has started.

        Its port opens a little earlier, so a connection proves nothing.

        Raises:
            PortTakenError, StartCancelledError, KafkaStartError: As their names say.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            # Looked at before the log, so that the last words of a dead broker are read too.
            alive = self.running
            said = self._said()
            if READY in said and alive:
                return
            if not alive:
                self._reap()
                if PORT_TAKEN in said:
                    raise PortTakenError(
                        f"node {self.node_id} found one of its ports {self.port} and "
                        f"{self.controller_port} taken by another process"
                    )
                raise KafkaStartError(f"node {self.node_id} ended while starting:\n{self.tail()}")
            if cancelled():
                raise StartCancelledError(f"the start of node {self.node_id} was cancelled")
            if time.monotonic() > deadline:
                raise KafkaStartError(
                    f"node {self.node_id} was not ready after {timeout_s:.0f} s. "
                    f"Its log ends:\n{self.tail()}"
                )
            time.sleep(0.05)

    def _said(self) -> bytes:
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            return log.read()

    def tail(self, lines: int = 20) -> str:
        """The last lines the broker wrote."""
        return "\n".join(self._said().decode(errors="replace").splitlines()[-lines:])

    def kill(self) -> None:
        """End the broker at once, as a power cut would (SIGKILL); its data stay."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._reap()

    def pause(self) -> None:
        """Freeze the broker (SIGSTOP): connections stay open and nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen broker go on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """Shut the broker down in order (SIGTERM), or kill it when that takes too long.

        Returns:
            False when it had to be killed.
        """
        self.begin_stop()
        return self.finish_stop(timeout_s)

    def begin_stop(self) -> None:
        """Ask the broker to shut down, and return at once."""
        if self._process is not None and self.running:
            self._process.terminate()
            # A paused broker would read the request when it is resumed, and not before.
            self._process.send_signal(signal.SIGCONT)

    def finish_stop(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """Wait for the shutdown that `begin_stop` asked for; False when it had to be killed."""
        in_order = True
        if self._process is not None:
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                in_order = False
        self.kill()
        return in_order

    def _reap(self) -> None:
        """Forget a process that has ended, and send its watchdog home."""
        watchdog, self._watchdog, self._process = self._watchdog, None, None
        if watchdog is not None:
            # communicate() ignores a watchdog that somebody else has ended.
            watchdog.communicate(b"ended\n")

    def _java(self) -> list[str]:
        archive = self._kafka.class_archive
        # Java ignores an archive that does not fit; KafkaCluster has it made.
        share = [f"-XX:SharedArchiveFile={archive}"] if archive.is_file() else []
        return [self._kafka.java, *JVM_OPTIONS, *share, "-cp", self._kafka.class_path]
