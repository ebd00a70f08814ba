"""The house as it was planned: imports go one way, files stay short, every source file has its test file."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.pipeline.exchange import mermaid

ROOT = Path(__file__).resolve().parents[2]
LINES_MAX = 400
FUNCTION_LINES_MAX = 70
NETS = {
    "gateway/listener/server.py": "whatever broke gets an honest 500",
    "gateway/pipeline/drive.py": "whatever broke, the table says what follows",
    "gateway/store/writer.py": "an unforeseen fault must not leave waiters hanging",
}
"""Where any exception may be caught and not raised again, and why."""
SOURCES = sorted(
    file
    for package in ("gateway", "controller", "loadtest", "lumyn")
    for file in (ROOT / package).rglob("*.py")
)
OWN = [file for file in SOURCES if file.name not in {"__init__.py", "__main__.py"}]


def name_of(file: Path) -> str:
    """The path below the root, for messages."""
    return str(file.relative_to(ROOT))


def test_the_sources_are_found() -> None:
    """The rules below speak of something."""
    assert len(OWN) > 100


def test_every_source_file_has_its_test_file() -> None:
    """`gateway/a/b.py` is tested by `tests/unit/gateway/a/test_b.py`; what is missing is listed."""
    missing = []
    for file in OWN:
        place = file.relative_to(ROOT)
        if not (ROOT / "tests/unit" / place.parent / f"test_{place.name}").is_file():
            missing.append(name_of(file))
    assert not missing, "no test file for:\n" + "\n".join(missing)


def test_every_unit_test_file_has_its_source_file() -> None:
    """No unit test stands where its source file has moved away; `test_b_more.py` is of `b.py` as well."""
    orphans = []
    for package in ("gateway", "controller", "loadtest"):
        for file in (ROOT / "tests/unit" / package).rglob("test_*.py"):
            place = ROOT / file.relative_to(ROOT / "tests/unit").parent
            words = file.stem.removeprefix("test_").split("_")
            names = ["_".join(words[:count]) for count in range(len(words), 0, -1)]
            if not any((place / f"{name}.py").is_file() for name in names):
                orphans.append(name_of(file))
    assert not orphans


def test_files_are_short() -> None:
    """No source or test file is longer than 400 lines."""
    files = [*SOURCES, *(ROOT / "tests").rglob("*.py")]
    long = {
        name_of(file): count for file in files if (count := len(file.read_text().splitlines())) > LINES_MAX
    }
    assert not long


def test_functions_are_short() -> None:
    """No function's body is longer than 70 lines; a command's flags, one a line, are no logic."""
    long = [
        f"{name_of(file)}:{node.lineno} {node.name}"
        for file in SOURCES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.body[0].lineno >= FUNCTION_LINES_MAX
    ]
    assert not long


def test_every_module_says_what_it_is_for() -> None:
    """Each source file that is not empty begins with a docstring."""
    silent = [name_of(file) for file in OWN if not ast.get_docstring(ast.parse(file.read_text()))]
    assert not silent


def test_every_test_states_its_fact() -> None:
    """Each test has a docstring."""
    silent = [
        f"{name_of(file)}:{node.name}"
        for file in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert not silent


def test_nothing_is_left_undone() -> None:
    """No stub, no to-do, and no exemption from a lint rule without a reason beside it."""
    undone = re.compile(r"\bTO" r"DO\b|\bFIX" r"ME\b|raise NotImplemented" r"Error|# noqa(?!: [A-Z0-9, ]+ )")
    sources = [file for file in SOURCES if undone.search(file.read_text())]
    assert not list(map(name_of, sources))


def test_nets_are_few() -> None:
    """`except Exception` stands once at each of the borders that are listed here, and nowhere else."""
    found = [
        name_of(file)
        for file in SOURCES
        for _ in re.findall(r"except Exception\b", file.read_text())
        if name_of(file).startswith("gateway")
    ]
    assert sorted(found) == sorted(NETS)


def test_imports_go_one_way() -> None:
    """The import contracts of pyproject.toml hold."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


@pytest.mark.parametrize("package", ["lumyn"])
def test_the_library_loads_no_server(package: str) -> None:
    """`import lumyn` brings no aiohttp, no uvloop and no locust with it."""
    code = f"import sys, {package}; print(sorted({{'aiohttp', 'uvloop', 'locust'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_diagram_is_drawn_from_the_table() -> None:
    """The Mermaid block of docs/architecture.md is what `mermaid()` draws."""
    text = (ROOT / "docs/architecture.md").read_text()
    [block] = re.findall(r"^```mermaid\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    assert block == mermaid(), (
        "run: python -c 'from gateway.pipeline.exchange import mermaid; print(mermaid())'"
    )


def test_the_map_names_every_room() -> None:
    """docs/architecture.md names every package there is, and none that is not."""
    text = (ROOT / "docs/architecture.md").read_text()
    named = set(
        re.findall(r"^\| `((?:gateway|controller|loadtest)(?:/[a-z/]+)?)/` \|", text, flags=re.MULTILINE)
    )
    rooms = {
        name_of(file.parent)
        for package in ("gateway", "controller", "loadtest")
        for file in (ROOT / package).rglob("__init__.py")
        if any(other.name != "__init__.py" for other in file.parent.glob("*.py"))
    } - {"gateway", "controller"}
    assert named == rooms
