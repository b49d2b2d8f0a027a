"""What a target machine carries is enough: the light verbs run where torch, transformers, datasets and onnx raise."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FORBIDDEN = ("torch", "transformers", "datasets", "onnx", "onnxscript", "accelerate", "optimum")
HOOK = f"""
import sys

class Forbid:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {FORBIDDEN!r}:
            raise ModuleNotFoundError("forbidden by the test: " + name, name=name)
        return None

sys.meta_path.insert(0, Forbid())
"""


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment in which importing what a target machine lacks fails, in the workers too."""
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(HOOK)
    return os.environ | {"PYTHONPATH": str(tmp_path / "hook"), "BENCHKIT_CACHE": str(tmp_path / "cache")}


def benchkit(*arguments: str, env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchkit", *arguments]
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, check=False, timeout=240)


def test_the_hook_forbids(bare: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", "import onnx"], env=bare, capture_output=True, text=True, check=False)
    assert "forbidden by the test" in done.stderr


def test_doctor(bare: dict[str, str], tmp_path: Path) -> None:
    done = benchkit("doctor", "--format", "json", "--seconds", "0.1", env=bare, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["runtimes"]["onnxruntime"].startswith("ready")
    assert found["runtimes"]["torch"].startswith("not ready: runtime 'torch' needs the package 'torch'")


def test_profile_score_check_and_report(bare: dict[str, str], pico_onnx: Path, tiny_sst2: Path, tmp_path: Path) -> None:
    model = str(pico_onnx)
    out = str(tmp_path / "records.jsonl")
    profiled = benchkit(
        "profile", model, "--sequence-length", "8", "--runs", "2", "--output", out, "--quiet", env=bare, cwd=tmp_path
    )
    # A busy machine may void the only cell; that is told, and is no error.
    assert profiled.returncode == (4 if "every cell is void" in profiled.stderr else 0), profiled.stderr
    scored = benchkit(
        "score", model, "--task", "sst2", "--data", str(tiny_sst2), "--output", out, "-q", env=bare, cwd=tmp_path
    )
    assert scored.returncode == 0, scored.stderr
    (tmp_path / "budgets.toml").write_text(
        '[[budget]]\nname = "fits"\nquantity = "artifact_size"\nstatistic = "value"\nat_most_bytes = 1e9\n'
    )
    checked = benchkit("check", "--budgets", "budgets.toml", "--records", out, env=bare, cwd=tmp_path)
    # A busy test machine may void the cell: then the budget is undecided, and that is what must be said.
    assert checked.returncode in (0, 3), checked.stdout + checked.stderr
    reported = benchkit("report", out, "-o", str(tmp_path / "page"), env=bare, cwd=tmp_path)
    assert reported.returncode == 0, reported.stderr
    assert (tmp_path / "page" / "report.md").is_file()


def test_what_needs_the_extra_says_so(bare: dict[str, str], pico_checkpoint: Path, tmp_path: Path) -> None:
    done = benchkit("profile", str(pico_checkpoint), "--quiet", env=bare, cwd=tmp_path)
    assert done.returncode == 4
    assert "pip install 'benchkit[train]'" in done.stderr


@pytest.mark.parametrize("arguments", [("--help",), ("profile", "--help"), ("--version",)])
def test_help_imports_nothing_heavier_than_settings(arguments: tuple[str, ...], tmp_path: Path) -> None:
    code = (
        "import sys\nfrom benchkit.cli.boundary import guarded\nfrom benchkit.cli.app import app\n"
        f"guarded(lambda: app({list(arguments)!r}, standalone_mode=False), sys.stderr)\n"
        "heavy = {'numpy', 'scipy', 'rich', 'onnxruntime', 'tokenizers', 'psutil', *" + repr(FORBIDDEN) + "}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stderr.strip() == "[]", done.stderr


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, benchkit; print('numpy' in sys.modules, 'pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_the_worker_is_thin() -> None:
    """What the worker imports counts into the memory that it measures."""
    code = (
        "import sys, benchkit.bench.worker\n"
        "print(sorted({'pydantic', 'typer', 'rich', 'scipy', 'psutil', 'torch', 'tokenizers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
