"""The one order of the rooms: a room imports only what stands to its left; heavy packages stay in the wings."""

import ast
from collections.abc import Iterator
from pathlib import Path

import benchkit

PACKAGE = Path(benchkit.__file__).parent
FLOORS = (
    "core",
    "stats",
    "host",
    "meters",
    "runtimes",
    "tasks",
    "bench",
    "judge",
    "report",
    "pipeline",
    "api",
    "cli",
)
WINGS = {"train", "merge", "export", "quantize"}
HEAVY = {"torch", "transformers", "datasets", "onnx", "accelerate"}
HEAVY_ROOM_FILES = {"runtimes/torch.py", "runtimes/torch_session.py"}
ONE_FILE_EACH = {
    "pynvml": "host/gpus.py",
    "onnxruntime": "runtimes/onnxruntime.py",
    "openvino": "runtimes/openvino.py",
}


def broken_rules(package: Path) -> list[str]:
    """List each import that climbs a floor, enters a wing, or is heavy outside the wings."""
    rank = {room: floor for floor, room in enumerate(FLOORS)} | {wing: FLOORS.index("tasks") for wing in WINGS}
    found = []
    for path in sorted(package.rglob("*.py")):
        here = path.relative_to(package)
        room = here.parts[0].removesuffix(".py")
        for target in imports_of(path):
            top, _, rest = target.partition(".")
            other = rest.partition(".")[0]
            if top in HEAVY and room not in WINGS and here.as_posix() not in HEAVY_ROOM_FILES:
                found.append(f"{here} imports {top}: heavy, for the wings only")
            elif top in ONE_FILE_EACH and room not in WINGS and here.as_posix() != ONE_FILE_EACH[top]:
                found.append(f"{here} imports {top}: only {ONE_FILE_EACH[top]} may")
            elif top == "benchkit" and other in WINGS and other != room:
                found.append(f"{here} imports {target}: a wing is reached by name only")
            elif top == "benchkit" and rank.get(room, len(FLOORS)) < rank.get(other, 0):
                found.append(f"{here} imports {target}: it lies on a higher floor")
    return found


def imports_of(path: Path) -> Iterator[str]:
    """Yield each module that the file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""


def test_no_import_breaks_the_order() -> None:
    assert broken_rules(PACKAGE) == []


def test_the_law_finds_what_it_forbids(tmp_path: Path) -> None:
    """Each kind of breach, planted, is found; so that an empty list means something."""
    for name, text in {
        "core/a.py": "from benchkit.bench.plan import Matrix\n",
        "bench/b.py": "def f():\n    import torch\n",
        "cli/c.py": "from benchkit.merge.run import merge\n",
        "judge/d.py": "import pynvml\n",
        "merge/e.py": "from benchkit.train.finetune import finetune\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert len(broken_rules(tmp_path)) == 5


def test_every_room_is_on_a_floor_or_a_wing() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and (path / "__init__.py").is_file()}
    assert rooms == (set(FLOORS) | WINGS) - {"api"}


def test_only_the_boundary_catches_everything() -> None:
    broad = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ExceptHandler) and (
                node.type is None
                or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException"))
            ):
                broad.append(path.relative_to(PACKAGE).as_posix())
    # The second one: the Rust side of tokenizers raises bare Exception for whatever is wrong with a file.
    assert broad == ["cli/boundary.py", "tasks/tokenization.py"]


def test_every_error_carries_a_remedy() -> None:
    """`remedy` has no default, so that leaving it out fails at the call; here: no remedy is an empty text."""
    empty = [
        f"{path}:{node.value.lineno}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.name != "records.py"  # A NotMeasured read from a file may lack one.
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.keyword) and node.arg == "remedy" and isinstance(node.value, ast.Constant)
        if not node.value.value
    ]
    assert empty == []
