"""One thread a store: shared, given back, closed at the end, begun anew after a fork."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.embed import LumynConfig, decide
from gateway.embed.thread import acquire, release, shared, store_key
from gateway.kernel.errors import StoreSetupError
from tests.kit.refunds import refund


def _python(code: str, directory: Path) -> str:
    """Run a program in another process and return what it printed; it must end well, and soon."""
    head = f"import sys; sys.path.insert(0, {str(Path.cwd())!r})\nfrom tests.kit.refunds import refund\n"
    run = [sys.executable, "-W", "error", "-c", head + textwrap.dedent(code)]
    done = subprocess.run(run, cwd=directory, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_one_store_has_one_thread_however_it_is_spelt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path, an absolute one and both URL forms are the same store."""
    monkeypatch.chdir(tmp_path)
    first = acquire("sqlite:a.db")
    second = acquire(f"sqlite://{tmp_path}/a.db")
    assert first is second
    release(second)
    assert acquire("sqlite:a.db") is first
    release(first)
    release(first)
    third = acquire("sqlite:a.db")
    assert third is not first
    release(third)


def test_a_shared_thread_outlives_its_users(tmp_path: Path) -> None:
    """What `decide` uses is not closed when the last Lumyn on the same store is."""
    url = f"sqlite:{tmp_path}/a.db"
    held = shared(url)
    release(acquire(url))
    assert shared(url) is held
    config = LumynConfig(storage_url=url)
    assert decide(refund(), config=config)["verdict"] == "TRUST"


@pytest.mark.parametrize("url", ["sqlite:", "mysql://h/d", "sqlite::memory:"])
def test_a_url_that_names_no_store_is_an_error(url: str) -> None:
    """A mistyped URL is told, and does not become an ABSTAIN for ever."""
    with pytest.raises(StoreSetupError):
        store_key(url)


def test_many_threads_decide_at_once(tmp_path: Path) -> None:
    """Eight threads on one key get one decision; on keys of their own each gets its own."""
    config = LumynConfig(store_path=tmp_path / "a.db")
    with ThreadPoolExecutor(8) as pool:
        same = list(pool.map(lambda _: decide(refund(request_id="k"), config=config), range(16)))
        own = list(pool.map(lambda n: decide(refund(request_id=f"k{n}"), config=config), range(16)))
    assert len({record["decision_id"] for record in same}) == 1
    assert len({record["decision_id"] for record in own}) == 16


def test_a_program_that_never_closes_ends_by_itself(tmp_path: Path) -> None:
    """A program that only decides ends at once, and leaves nothing to recover: its store is closed."""
    code = """
        from lumyn import LumynConfig, decide
        print(decide(refund(), config=LumynConfig(store_path="w/a.db"))["decision_id"])
    """
    assert len(_python(code, tmp_path)) == 26
    assert not (tmp_path / "w/a.db-wal").exists()
    assert list((tmp_path / "w/a.db-writers").iterdir()) == []


def test_a_forked_child_decides_for_itself(tmp_path: Path) -> None:
    """After a fork parent and child both decide, each as a writer of its own, and both records are there."""
    code = """
        import os
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of forks with threads
        from lumyn import Lumyn, LumynConfig, decide
        config = LumynConfig(store_path="w/a.db")
        lumyn = Lumyn(config)
        mine = lumyn.decide(refund())["decision_id"]
        decide(refund(), config=config)
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            ids = lumyn.decide(refund())["decision_id"], decide(refund(), config=config)["decision_id"]
            lumyn.close()
            os.write(writer, " ".join(ids).encode())
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        theirs = os.read(reader, 100).decode().split()
        kept = [lumyn.get(one)["verdict"] for one in (mine, *theirs)]
        lumyn.close()
        print(kept)
    """
    assert _python(code, tmp_path) == "['TRUST', 'TRUST', 'TRUST']"


def test_the_library_loads_no_server(tmp_path: Path) -> None:
    """`import lumyn` loads nothing of ours; deciding loads no HTTP, no uvloop, no load generator."""
    code = """
        import lumyn
        assert not [name for name in sys.modules if name.startswith("gateway")]
        from lumyn import LumynConfig, decide
        decide(refund(), config=LumynConfig(store_path="w/a.db"))
        heavy = ("aiohttp", "uvloop", "locust", "httptools", "pydantic", "typer", "asyncpg")
        print([name for name in heavy if name in sys.modules])
    """
    assert _python(code, tmp_path) == "[]"
