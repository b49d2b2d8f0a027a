"""What the benchmarks saw goes to the terminal and into reports/benchmarks.txt, with the machine it was seen on."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

REPORT = Path(__file__).parents[2] / "reports" / "benchmarks.txt"


@pytest.fixture(scope="session")
def lines() -> Iterator[list[str]]:
    from benchkit.core.store import utc_now
    from benchkit.host.facts import host_facts

    host = host_facts()
    versions = ", ".join(f"{name} {version}" for name, version in host.versions.items())
    seen = [f"make bench, {utc_now()}", f"{host.cpu_model}, {host.cores} cores, {host.os}, {versions}", ""]
    yield seen
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text("\n".join(seen) + "\n", encoding="utf-8")


@pytest.fixture
def tell(lines: list[str]) -> Callable[[str], None]:
    def _tell(text: str) -> None:
        print(f"\n{text}")
        lines.append(text)

    return _tell
