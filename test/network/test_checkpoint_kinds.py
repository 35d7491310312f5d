# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A file of another kind is named for what it is, with what to use in its place."""

from __future__ import annotations

import pickle

import pytest
import torch
from safetensors.torch import save_file

from attention_fusion_ros.contracts import Calibration
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.network import checkpoint
from attention_fusion_ros.network.config import NetworkConfig
from attention_fusion_ros.network.model import FusionNetwork


class Twice(torch.nn.Module):
    def forward(self, x):
        return 2 * x


def test_the_state_of_a_training(tmp_path):
    torch.save({'step': 1, 'network': {'w': torch.zeros(3)}}, tmp_path / 'last.pt')
    with pytest.raises(ConfigurationError, match='state of a training .* checkpoint.safetensors'):
        checkpoint.load(tmp_path / 'last.pt')


def test_a_program_of_torch_export(tmp_path):
    torch.export.save(torch.export.export(Twice(), (torch.zeros(1),)), str(tmp_path / 'model.pt2'))
    with pytest.raises(ConfigurationError, match='torch.export'):
        checkpoint.load(tmp_path / 'model.pt2')


def test_a_pickle_is_not_loaded(tmp_path):
    class Harm:
        def __reduce__(self):
            return open, (str(tmp_path / 'harm'), 'w')
    (tmp_path / 'weights.bin').write_bytes(pickle.dumps(Harm()))
    with pytest.raises(ConfigurationError, match='pickle'):
        checkpoint.load(tmp_path / 'weights.bin')
    assert not (tmp_path / 'harm').exists()


def test_an_onnx_model(tmp_path):
    (tmp_path / 'model.onnx').write_bytes(b'\x08\n\x12\x07pytorch')
    with pytest.raises(ConfigurationError, match='backend to onnxruntime'):
        checkpoint.load(tmp_path / 'model.onnx')


def test_a_safetensors_file_that_begins_like_a_pickle_is_none(tmp_path):
    """A pickle begins with byte 0x80, and so does a safetensors file whose header is 128 + 256 n bytes long."""
    path = tmp_path / 'other.safetensors'
    for length in range(0, 300, 4):
        save_file({'w': torch.zeros(3)}, path, {'kind': 'x' * length})
        if path.read_bytes()[0] == 0x80:
            break
    assert path.read_bytes()[0] == 0x80
    with pytest.raises(ConfigurationError, match='another program'):
        checkpoint.load(path)


def test_safetensors_of_another_program(tmp_path):
    save_file({'w': torch.zeros(3)}, tmp_path / 'other.safetensors')
    with pytest.raises(ConfigurationError, match='another program'):
        checkpoint.load(tmp_path / 'other.safetensors')


def test_a_checkpoint_whose_first_byte_is_that_of_a_pickle_is_read(tmp_path):
    """It is the length of the header, which depends on what is noted in it."""
    network = FusionNetwork(NetworkConfig.from_dict({'cells': 32, 'bins': 8, 'polar_ranges': 8}))
    for length in range(0, 300, 8):
        path = tmp_path / 'weights.safetensors'
        checkpoint.save(path, network, Calibration(), {'note': 'x' * length})
        if path.read_bytes()[0] == 0x80:
            break
    else:
        pytest.fail('no header of that length')
    assert checkpoint.load(path).training['note'] == 'x' * length
