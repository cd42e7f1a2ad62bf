"""Numbers do not depend on how many threads a machine has; a renderer where the machine has one."""

import os

import pytest
import torch

from unihand_data.record.gl import NoHeadlessGL, choose_backend


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def renderer():
    before = os.environ.get("MUJOCO_GL")
    try:
        choose_backend()
    except NoHeadlessGL as error:
        pytest.skip(str(error))
    yield
    if before is None:
        os.environ.pop("MUJOCO_GL", None)
