"""Files of published networks: tensors are read, code is not run, other files are refused."""

from __future__ import annotations

import io
import os
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pinpoint.errors import BadBundleError
from pinpoint.nets.place_recognition.networks import read_published


class Harmful:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return (eval, ("__import__('os').environ.__setitem__('PINPOINT_TEST_HARM', '1')",))


def test_read_published_unwraps_a_training_checkpoint(tmp_path):
    state = {"module.linear1.bias": torch.arange(3.0), "module.aggregation.1.p": torch.ones(1)}
    checkpoint = {
        "epoch_num": 3,
        "model_state_dict": state,
        "optimizer_state_dict": {"state": {}, "param_groups": [{"lr": 1e-4}]},
        "recalls": np.array([93.3, 97.0]),
        "best_r5": np.float64(190.3),
    }
    torch.save(checkpoint, tmp_path / "checkpoint.pth")
    tensors = read_published(tmp_path / "checkpoint.pth")
    assert list(tensors) == ["linear1.bias", "aggregation.1.p"]
    assert torch.equal(tensors["linear1.bias"], torch.arange(3.0))


@pytest.mark.parametrize("zipped", [True, False])
def test_read_published_takes_both_formats_of_torch(tmp_path, zipped):
    state = {"a": torch.arange(4.0)}
    torch.save(state, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    assert torch.equal(read_published(tmp_path / "w.pth")["a"], state["a"])


def test_read_published_takes_safetensors(tmp_path):
    save_file({"a": torch.arange(4.0)}, tmp_path / "w.safetensors")
    assert torch.equal(read_published(tmp_path / "w.safetensors")["a"], torch.arange(4.0))


def test_read_published_runs_no_code(tmp_path, monkeypatch):
    monkeypatch.delenv("PINPOINT_TEST_HARM", raising=False)
    torch.save({"a": torch.ones(1), "b": Harmful()}, tmp_path / "harmful.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Harmful(), protocol=2))
    for name in ("harmful.pth", "plain.pth"):
        with pytest.raises(BadBundleError, match="cannot be read as a file of tensors"):
            read_published(tmp_path / name)
    assert "PINPOINT_TEST_HARM" not in os.environ


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot be read"),
        (b"PK\x03\x04 not a zip", "cannot be read"),
        (b"<html>404</html>", "cannot be read"),
        ([1, 2], "other things than named tensors"),
        ({"a": 1}, "other things than named tensors"),
    ],
)
def test_read_published_with_another_file_is_refused(tmp_path, content, words):
    file = tmp_path / "w.pth"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        stream = io.BytesIO()
        torch.save(content, stream)
        file.write_bytes(stream.getvalue())
    with pytest.raises(BadBundleError, match=words):
        read_published(file)


def test_read_published_with_missing_file_is_refused(tmp_path):
    with pytest.raises(BadBundleError, match="cannot be read: No such file"):
        read_published(tmp_path / "absent.pth")
