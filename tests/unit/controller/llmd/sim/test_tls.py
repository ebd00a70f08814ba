"""Certificates from files, or made on the spot."""

import ssl

import pytest

from controller.llmd.sim.engine_config import SimConfigError
from controller.llmd.sim.server import EmbeddedSim
from controller.llmd.sim.tls import self_signed_pem, server_context
from tests.kit.simulator import CONFIG


async def test_a_made_certificate_serves_https(tmp_path):
    """A client that is given the certificate trusts it, for localhost."""
    import aiohttp

    pem = tmp_path / "both.pem"
    pem.write_bytes(self_signed_pem())
    trusting = ssl.create_default_context(cafile=str(pem))
    sim = EmbeddedSim(CONFIG)
    base = await sim.start(ssl_context=server_context(pem, pem))
    assert base.startswith("https://127.0.0.1:")
    async with aiohttp.ClientSession() as http, http.get(f"{base}/health", ssl=trusting) as answer:
        assert answer.status == 200
    await sim.stop()


def test_what_is_asked_for_is_made(tmp_path):
    """Nothing, files, or one on the spot; half a pair and wrong files are refused."""
    assert server_context(None, None) is None
    assert isinstance(server_context(None, None, self_signed=True), ssl.SSLContext)
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("nothing")
    for arguments in ((wrong, None), (None, wrong), (wrong, wrong)):
        with pytest.raises(SimConfigError):
            server_context(*arguments)
    with pytest.raises(SimConfigError, match="not both"):
        server_context(wrong, wrong, self_signed=True)
    with pytest.raises(OSError, match="No such file"):
        server_context(tmp_path / "none", tmp_path / "none")
