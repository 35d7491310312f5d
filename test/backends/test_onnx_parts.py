# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Outputs that nobody reads are taken out of an .onnx file; a file that is not understood stays as it is."""

import random
from collections import Counter

import numpy as np
import pytest

from attention_fusion_ros.backends.onnx_parts import without_outputs
from attention_fusion_ros.network.shipped import exported_beside

onnxruntime = pytest.importorskip('onnxruntime')


@pytest.fixture(scope='module')
def shipped() -> bytes:
    return exported_beside('').read_bytes()


def session(file: bytes):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(file, options, providers=['CPUExecutionProvider'])


def test_the_other_outputs_stay_the_same(shipped):
    whole, part = session(shipped), session(without_outputs(shipped, ('road',)))
    names = [output.name for output in whole.get_outputs()]
    assert [output.name for output in part.get_outputs()] == [name for name in names if name != 'road']
    assert part.get_modelmeta().custom_metadata_map == whole.get_modelmeta().custom_metadata_map
    rng = np.random.default_rng(0)
    feed = {given.name: rng.random((2, *given.shape[1:]), dtype=np.float32) for given in whole.get_inputs()}
    expected = dict(zip(names, whole.run(names, feed)))
    for output, values in zip(part.get_outputs(), part.run(None, feed)):
        assert np.array_equal(values, expected[output.name]), output.name


def test_what_is_computed_for_it_alone_goes_too(shipped):
    onnx = pytest.importorskip('onnx')
    whole, part = (onnx.load_from_string(file) for file in (shipped, without_outputs(shipped, ('road',))))
    onnx.checker.check_model(part)
    gone = Counter(node.op_type for node in whole.graph.node) - Counter(node.op_type for node in part.graph.node)
    assert gone['Resize'] and gone['Conv'] == 4, 'a layer for each of the three stages, and the last'
    assert not any('road' in weight.name for weight in part.graph.initializer)


def test_a_file_without_such_an_output_or_without_others_stays(shipped):
    assert without_outputs(shipped, ('nothing',)) is shipped
    names = [output.name for output in session(shipped).get_outputs()]
    assert without_outputs(shipped, names) is shipped


def test_damaged_files_are_left_to_the_runtime(shipped):
    generator = random.Random(0)
    assert without_outputs(b'', ('road',)) == b''
    for _ in range(30):
        cut = shipped[:generator.randrange(len(shipped))]
        assert without_outputs(cut, ('road',)) == cut
    for _ in range(30):  # whatever becomes of it, no error
        odd = bytearray(shipped)
        for _ in range(20):
            odd[generator.randrange(4000)] = generator.randrange(256)
        assert isinstance(without_outputs(bytes(odd), ('road',)), bytes)


def test_weights_in_other_files_and_graphs_within_nodes_stay(shipped):
    onnx = pytest.importorskip('onnx')
    model = onnx.load_from_string(shipped)
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    file = model.SerializeToString()
    assert without_outputs(file, ('road',)) is file
    model = onnx.load_from_string(shipped)
    inner = onnx.helper.make_graph([], 'inner', [], [])
    model.graph.node[0].attribute.append(onnx.helper.make_attribute('body', inner))
    file = model.SerializeToString()
    assert without_outputs(file, ('road',)) is file
