"""What the README tells a newcomer to type exists: verbs, flags, files, and the budget file that it shows."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer

from benchkit.cli.app import app
from benchkit.core.settings import load_toml
from benchkit.judge.budget_file import BudgetFile

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.split("  #")[0].strip() for line in README.splitlines() if line.startswith("    ") and "benchkit " in line[:20]
]
VERBS = typer.main.get_command(app).commands


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("benchkit ")])
def test_every_command_parses(line: str) -> None:
    words = shlex.split(line.split("#", maxsplit=1)[0])
    verb = VERBS[words[1]]
    # Parsing alone: files that a command names need not be here.
    context = verb.make_context(words[1], words[2:])
    assert context.info_name == words[1]


def test_there_are_commands_to_check() -> None:
    assert {shlex.split(line)[1] for line in COMMANDS if line.startswith("benchkit ")} >= set(VERBS) - {"train"}


@pytest.mark.parametrize("target", re.findall(r"^    make (\w+)", README, flags=re.MULTILINE))
def test_every_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


def test_every_file_that_is_named_exists() -> None:
    for name in re.findall(r"(?:models|benchkit)/[\w./-]+\.(?:toml|md)", README):
        assert (ROOT / name).is_file(), name


def test_the_budget_file_is_valid(tmp_path: Path) -> None:
    [text] = re.findall(r"```toml\n(# budgets.toml.*?)```", README, flags=re.DOTALL)
    path = tmp_path / "budgets.toml"
    path.write_text(text)
    assert len(load_toml(path, BudgetFile).budget) == 2


def test_the_extras_that_are_named_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = set(re.findall(r"'\.\[(\w+)\]'", README))
    assert {"cpu", "gpu", "train"} <= named <= set(extras)


def test_every_architecture_that_is_named_exists() -> None:
    from benchkit.core.architectures import ARCHITECTURES

    assert set(re.findall(r"arch:([\w-]+)", README)) == set(ARCHITECTURES)
