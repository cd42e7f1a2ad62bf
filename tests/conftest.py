"""Fixtures that several rooms share."""

from pathlib import Path

import pytest
from hypothesis import settings

from helpers.samples import sample

# a deadline would be a wall-clock assertion
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of real samples, or a skip."""
    return sample()


@pytest.fixture(scope="module")
def object_store():
    """Endpoint of an S3 server on loopback for one module; the environment points every client at it, and no client
    that an earlier module's server left in fsspec's cache is used again."""
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    patch = pytest.MonkeyPatch()
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }.items():
        patch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    yield endpoint
    s3fs.S3FileSystem.clear_instance_cache()
    patch.undo()
    server.stop()
