"""Every light verb where /proc, /sys and what only Linux has are hidden: what they give is "not measured", no more.

Two imitations, each in real processes, workers included: "macos" has no peak of the resident size, "windows" has one
but lacks what POSIX has. What C code reads for itself, and what only a real system does, they cannot imitate.
"""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PACKAGE = Path(__file__).parents[2] / "benchkit"
SYSTEMS = ("macos", "windows")

HOOK = """
import builtins, io, os, select, signal, sys

HIDDEN = ("/proc", "/sys", "/etc/os-release", "/usr/lib/os-release")
LINUX_ONLY = ("sched_getaffinity", "sched_setaffinity", "posix_fadvise", "fdatasync", "sched_getscheduler")
POSIX_ONLY = (
    "fork", "forkpty", "getuid", "geteuid", "getgid", "getegid", "getpgid", "getpgrp", "setsid", "setpgid", "killpg",
    "nice", "getpriority", "setpriority", "sysconf", "statvfs", "wait3", "wait4", "waitid", "getloadavg", "mkfifo",
    "chown", "pidfd_open", "posix_spawn",
)
POSIX_SIGNALS = ("SIGALRM", "SIGUSR1", "SIGUSR2", "SIGHUP", "SIGCHLD", "SIGSTOP", "SIGCONT", "alarm", "setitimer",
    "pthread_sigmask", "pthread_kill", "sigwait")


def hidden(path):
    if not isinstance(path, (str, bytes, os.PathLike)):
        return False
    text = os.path.normpath(os.fsdecode(path))
    return any(text == root or text.startswith(root + "/") for root in HIDDEN)


def guarded(real):
    def wrapper(path=".", *arguments, **named):
        if hidden(path):
            raise FileNotFoundError(2, "hidden by the test", os.fsdecode(path))
        return real(path, *arguments, **named)
    return wrapper


def denying(real):
    def wrapper(path, *arguments, **named):
        return not hidden(path) and real(path, *arguments, **named)
    return wrapper


def renaming_to_what_is_new(real):
    def wrapper(source, target, **named):
        if os.path.exists(target):
            raise FileExistsError(17, "Windows does not rename onto a file", os.fsdecode(target))
        return real(source, target, **named)
    return wrapper


with open(os.environ["BENCHKIT_TEST_LOG"], "a") as log:
    log.write(" ".join(sys.orig_argv) + "\\n")
builtins.open = io.open = guarded(open)
for name in ("open", "stat", "lstat", "listdir", "scandir", "readlink"):
    setattr(os, name, guarded(getattr(os, name)))
os.access = denying(os.access)
for name in ("exists", "lexists", "isdir", "isfile", "islink"):
    setattr(os.path, name, denying(getattr(os.path, name)))


def take_away(module, names):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)


take_away(os, LINUX_ONLY)
take_away(select, ("epoll",))
if os.environ["BENCHKIT_TEST_SYSTEM"] == "windows":
    take_away(os, POSIX_ONLY)
    # SIGKILL stays: the standard library's own Popen.kill needs it on the system that really is below.
    take_away(signal, POSIX_SIGNALS)
    take_away(select, ("poll",))
    os.rename = renaming_to_what_is_new(os.rename)
    for name in ("resource", "fcntl", "pwd", "grp", "termios"):
        sys.modules[name] = None
"""

# What psutil has on these two systems, and nothing else: a name that it lacks there is an AttributeError here too.
PSUTIL = """
import collections, os, time

WINDOWS = os.environ["BENCHKIT_TEST_SYSTEM"] == "windows"
MACOS, POSIX, LINUX = not WINDOWS, not WINDOWS, False
__version__, version_info = "7.0.0", (7, 0, 0)
_GIB = 1 << 30


class Error(Exception): ...
class NoSuchProcess(Error): ...
class ZombieProcess(NoSuchProcess): ...
class AccessDenied(Error): ...
class TimeoutExpired(Error): ...


def _tuple(name, **values):
    return collections.namedtuple(name, values)(**values)


def virtual_memory():
    return _tuple("svmem", total=8 * _GIB, available=4 * _GIB, percent=50.0, used=4 * _GIB, free=4 * _GIB)

def swap_memory():
    return _tuple("sswap", total=0, used=0, free=0, percent=0.0, sin=0, sout=0)

def cpu_count(logical=True):
    return os.cpu_count()

def cpu_times(percpu=False):
    own = os.times()
    values = dict(user=own.user + own.children_user, system=own.system + own.children_system, idle=time.monotonic())
    values |= dict(interrupt=0.0, dpc=0.0) if WINDOWS else dict(nice=0.0)
    return [_tuple("scputimes", **values)] * os.cpu_count() if percpu else _tuple("scputimes", **values)

def cpu_percent(interval=None, percpu=False):
    return 0.0

def cpu_freq(percpu=False):
    return _tuple("scpufreq", current=3000.0, min=600.0, max=3000.0)

def boot_time():
    return 0.0

def pids():
    return [os.getpid()]

def process_iter(attrs=None, ad_value=None):
    return iter([Process()])


class Process:
    _peak = 40 << 20

    def __init__(self, pid=None):
        self.pid = os.getpid() if pid is None else pid

    def memory_info(self):
        if not WINDOWS:
            return _tuple("pmem", rss=40 << 20, vms=400 << 20, pfaults=1, pageins=1)
        Process._peak += 1 << 20
        return _tuple("pmem", rss=40 << 20, vms=40 << 20, num_page_faults=1, peak_wset=Process._peak, wset=40 << 20)

    def memory_full_info(self):
        if not WINDOWS:
            raise AccessDenied
        return _tuple("pfullmem", rss=40 << 20, vms=40 << 20, peak_wset=Process._peak, uss=30 << 20)

    def cpu_times(self):
        own = os.times()
        return _tuple("pcputimes", user=own.user, system=own.system, children_user=0.0, children_system=0.0)

    def num_ctx_switches(self):
        return _tuple("pctxsw", voluntary=1, involuntary=0)

    def children(self, recursive=False):
        return []

    def num_threads(self):
        return 1

    def name(self):
        return "python"

    def ppid(self):
        return 1

    def create_time(self):
        return 0.0

    def is_running(self):
        return True

    def nice(self, value=None):
        return 32 if WINDOWS else 0

    if WINDOWS:
        def cpu_affinity(self, cpus=None):
            return list(range(os.cpu_count()))
"""


class Machine:
    """Runs commands as if on another system."""

    def __init__(self, system: str, folder: Path) -> None:
        self.system, self.folder = system, folder
        self._log = folder / "processes.txt"
        hook = folder / "hook"
        hook.mkdir()
        (hook / "sitecustomize.py").write_text(HOOK)
        (hook / "psutil.py").write_text(PSUTIL)
        paths = [str(hook), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(paths),
            "BENCHKIT_CACHE": str(folder / "cache"),
            "BENCHKIT_TEST_SYSTEM": system,
            "BENCHKIT_TEST_LOG": str(self._log),
        }
        self._environment.pop("BENCHKIT_POWERCAP_ROOT", None)

    def run(self, *command: str, encoding: str = "utf-8") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *command],
            env=self._environment | {"PYTHONIOENCODING": encoding},
            cwd=self.folder,
            capture_output=True,
            encoding=encoding,
            check=False,
            timeout=240,
        )

    def benchkit(self, *arguments: str, encoding: str = "utf-8") -> str:
        """Run a command that must succeed; return what it printed."""
        done = self.run("-m", "benchkit", *arguments, encoding=encoding)
        assert done.returncode == 0, f"{arguments} on {self.system}: {done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def processes(self) -> list[str]:
        """Command lines of all the processes that ran with the hook."""
        return self._log.read_text().splitlines()


@pytest.fixture(params=SYSTEMS)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    return Machine(request.param, tmp_path)


@pytest.mark.parametrize(
    "code",
    [
        "open('/proc/stat')",
        "import os; os.listdir('/sys/fs/cgroup')",
        "import os; os.open(b'/proc/self/status', os.O_RDONLY)",
        "from pathlib import Path; Path('/proc/self/status').read_text()",
        "from pathlib import Path; next(Path('/sys/class').iterdir())",
    ],
)
def test_the_hook_hides(machine: Machine, code: str) -> None:
    assert "hidden by the test" in machine.run("-c", code).stderr


def test_the_hook_hides_quietly_where_one_asks_first(machine: Machine) -> None:
    code = (
        "import os; from pathlib import Path; import psutil\n"
        "asked = [Path('/proc').is_dir(), os.path.exists('/sys'), os.access('/proc', os.R_OK), Path('/sys').exists()]\n"
        "print(any(asked), list(Path('/sys/class').glob('*')), hasattr(os, 'sched_getaffinity'), psutil.LINUX)"
    )
    assert machine.run("-c", code).stdout.split() == ["False", "[]", "False", "False"]


def test_doctor(machine: Machine) -> None:
    found = json.loads(machine.benchkit("doctor", "--format", "json", "--seconds", "0.1"))
    instruments = {name: json.dumps(said) for name, said in found["instruments"].items()}
    not_ready = {name for name, said in instruments.items() if "not ready" in said}
    assert any("energy" in name for name in not_ready), instruments
    # Windows keeps a peak and cannot reset it; macOS has neither.
    memory = {name for name in instruments if "memory" in name and "GPU" not in name}
    assert memory & not_ready, instruments
    if machine.system == "windows":
        assert any("peak_wset" in instruments[name] for name in memory), instruments


def test_profile_and_report(machine: Machine, pico_onnx: Path) -> None:
    arguments = ("profile", str(pico_onnx), "--sequence-length", "8", "--runs", "2", "--quiet")
    records = json.loads(machine.benchkit(*arguments, "--format", "json", "--output", "records.jsonl"))
    assert any(" profile " not in process for process in machine.processes()), "the workers lacked the hook"
    for record in records:
        measurements = record["measurements"]
        assert measurements["latency"]["status"] == "measured"
        assert measurements["cpu_time"]["status"] == "measured"
        check_memory(machine.system, measurements["peak_memory"])
        energies = [found for name, found in measurements.items() if name.startswith("energy_")]
        assert energies
        assert all(said_why(found) for found in energies), energies
        assert record["noise"]["verdict"] in ("clean", "noisy", "invalid")
    machine.benchkit("report", "records.jsonl", "-o", "page")
    assert (machine.folder / "page" / "report.md").is_file()


def check_memory(system: str, found: dict[str, Any]) -> None:
    if system == "macos":
        assert said_why(found), found
    else:
        assert found["status"] == "measured", found
        assert found["statistics"]["max"]["value"] >= 40 << 20


def said_why(found: dict[str, Any]) -> bool:
    """Whether a quantity is not measured and says why, what about it, and no number."""
    said = found["status"] == "not_measured" and found["reason"] and found["detail"] and found["remedy"]
    return bool(said) and not found.get("statistics") and not found.get("runs")


def test_score_and_check(machine: Machine, pico_onnx: Path, tiny_sst2: Path) -> None:
    arguments = ("--task", "sst2", "--data", str(tiny_sst2), "--output", "scores.jsonl", "--quiet")
    machine.benchkit("score", str(pico_onnx), *arguments)
    (machine.folder / "budgets.toml").write_text(
        '[[budget]]\nname = "answers"\nquantity = "score"\nstatistic = "accuracy"\nat_least_ratio = 0.0\n'
    )
    machine.benchkit("check", "--budgets", "budgets.toml", "--records", "scores.jsonl")


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("profile", "--help"), ("compare", "--help")])
def test_help(machine: Machine, arguments: tuple[str, ...]) -> None:
    assert machine.benchkit(*arguments).strip()


def test_a_pipe_of_windows_takes_every_table(pico_onnx: Path, tiny_sst2: Path, tmp_path: Path) -> None:
    """There a pipe's text is cp1252 by default: a character that it lacks must not end the command."""
    machine = Machine("windows", tmp_path)
    machine.benchkit("--help", encoding="cp1252")
    machine.benchkit("doctor", "--seconds", "0.1", encoding="cp1252")
    arguments = ("--task", "sst2", "--data", str(tiny_sst2), "--quiet")
    machine.benchkit("score", str(pico_onnx), *arguments, encoding="cp1252")


_NO_SHELL = {"system", "popen", "fork", "forkpty"}
_NO_SIGNAL_TRICKS = {"alarm", "setitimer", "pthread_kill", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGPROF"}


def not_portable(source: str) -> list[str]:
    """Name what a module asks of a shell, of fork or of signals that only POSIX has."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(value=ast.Name(id="os"), attr=name) if name in _NO_SHELL:
                found.append(f"line {node.lineno}: os.{name}")
            case ast.Attribute(value=ast.Name(id="signal"), attr=name) if name in _NO_SIGNAL_TRICKS:
                found.append(f"line {node.lineno}: signal.{name}")
            case ast.keyword(arg="preexec_fn"):
                found.append(f"line {node.value.lineno}: preexec_fn")
            case ast.keyword(arg="shell", value=ast.Constant(value=value)) if value:
                found.append(f"line {node.value.lineno}: shell=True")
    return found


def test_what_is_not_portable_is_recognised() -> None:
    source = (
        "import os, signal, subprocess\n"
        "os.system('ls')\n"
        "signal.setitimer(signal.ITIMER_REAL, 1)\n"
        "subprocess.run('ls', shell=True, preexec_fn=print)\n"
        "subprocess.run(['ls'], shell=False)\n"
    )
    assert sorted(not_portable(source)) == [
        "line 2: os.system", "line 3: signal.setitimer", "line 4: preexec_fn", "line 4: shell=True",
    ]  # fmt: skip


def test_no_module_asks_a_shell_or_plays_with_signals() -> None:
    found = {str(path.relative_to(PACKAGE)): not_portable(path.read_text("utf-8")) for path in PACKAGE.rglob("*.py")}
    assert found
    assert {name: lines for name, lines in found.items() if lines} == {}
