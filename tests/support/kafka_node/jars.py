"""Which Java program is the broker? Apache Kafka's jars, fetched once with Maven, then kept.

Promises: nothing is downloaded the second time; two processes that ask at once fetch once;
a fetch that was interrupted leaves nothing that looks complete. It does not promise a network:
without one, the first call fails and says what was tried.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kafka_node.errors import KafkaUnavailableError

KAFKA_VERSION = "4.3.1"

HERE = Path(__file__).parent

# Measured: 6-9 s for 46 jars. The bound is for a network that swallows packets, and lies under the
# 300 s a single test may take, so that its message is seen and not that of the test's time-out.
FETCH_TIMEOUT_S = 240.0

MINIMUM_JAVA = 17


@dataclass(frozen=True)
class JavaKafka:
    """A Java virtual machine and the class path that make a broker."""

    java: str
    """Path of the `java` command."""

    java_version: str
    """All that `java -version` says: a class archive serves exactly one build."""

    jars: tuple[Path, ...]
    """The class path, sorted: a class archive is refused when the order differs."""

    cache: Path
    """The folder everything is kept in."""

    @property
    def class_path(self) -> str:
        return os.pathsep.join(str(jar) for jar in self.jars)

    @property
    def class_archive(self) -> Path:
        """Where the class-data archive of this Java and these jars lies, once it is made."""
        key = hashlib.sha256(f"{self.java_version}\n{self.class_path}".encode()).hexdigest()
        return self.cache / f"classes-{key[:12]}.jsa"


def find_kafka() -> JavaKafka:
    """Java and the jars, fetching the jars when they are not there yet.

    Raises:
        KafkaUnavailableError: Java is missing or too old, or the jars are not there and cannot
            be fetched.
    """
    java, version = _find_java()
    cache = cache_folder()
    digest = hashlib.sha256((HERE / "pom.xml").read_bytes()).hexdigest()
    folder = cache / f"jars-{digest[:12]}"
    if not folder.is_dir():
        with locked(cache):
            if not folder.is_dir():
                _fetch_jars(folder)
    return JavaKafka(java, version, tuple(sorted(folder.glob("*.jar"))), cache)


def cache_folder() -> Path:
    """The cache of this Kafka version, under `XDG_CACHE_HOME` or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The specification tells us to ignore a relative path.
    root = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    return root / "roundlog" / f"kafka-{KAFKA_VERSION}"


@contextmanager
def locked(cache: Path) -> Iterator[None]:
    """Hold the cache's lock; the system lets go of it when the process dies."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _find_java() -> tuple[str, str]:
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java")
    remedy = (
        f"Kafka {KAFKA_VERSION} needs Java {MINIMUM_JAVA} or newer: "
        "install it (Debian: `apt install openjdk-17-jre-headless`)"
    )
    if java is None:
        raise KafkaUnavailableError(f"there is no `java` command on PATH. {remedy}.")
    try:
        said = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=60, check=True
        ).stderr
    except (OSError, subprocess.SubprocessError) as error:
        raise KafkaUnavailableError(
            f"`{java} -version` failed: {error}. {remedy}, or correct JAVA_HOME."
        ) from error
    found = re.search(r'version "(\d+)', said)
    if found is None or int(found[1]) < MINIMUM_JAVA:
        first = (said.splitlines() or ["it said nothing"])[0]
        raise KafkaUnavailableError(f"`{java}` is too old ({first}). {remedy}, or set JAVA_HOME.")
    return java, said


def _fetch_jars(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaUnavailableError(
            f"the jars of Kafka {KAFKA_VERSION} are not in {folder}, and there is no `mvn` command "
            "on PATH to fetch them. Install Maven (Debian: `apt install maven`); it is needed once."
        )
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=folder.parent) as scratch:
        jars = Path(scratch, "jars")
        command = [
            maven, "-q", "-B", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies",
            f"-DoutputDirectory={jars}", "-DincludeScope=runtime",
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=FETCH_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired as error:
            raise KafkaUnavailableError(
                f"Maven did not fetch the jars of Kafka within {FETCH_TIMEOUT_S:.0f} s. "
                f"Check the network or Maven's mirror settings; the command was: "
                f"{' '.join(command)}"
            ) from error
        if done.returncode != 0 or not list(jars.glob("kafka_2.13-*.jar")):
            tail = "\n".join(done.stdout.splitlines()[-15:])
            raise KafkaUnavailableError(
                f"Maven could not fetch the jars of Kafka {KAFKA_VERSION} (exit code "
                f"{done.returncode}). Check the network or Maven's mirror settings. "
                f"It said:\n{tail}"
            )
        jars.rename(folder)
