#!/usr/bin/env bash
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
#
# OpenVINO 2026.4.1 (Linux, x86-64): the CPU plugin gives the thread that first compiles a model an alternate signal
# stack (sigaltstack) of its own, and takes it back in whichever thread lets go of the last Core or model. When that is
# another thread, the first one keeps an alternate signal stack whose memory has been unmapped.
#
# Python runs its signal handlers on that stack (SA_ONSTACK), so that a later Ctrl-C may end the process by SIGSEGV
# instead of KeyboardInterrupt, in a frame that shows no code of anybody. No signal is sent here.
# What helps: keep one openvino.Core for the life of the process.
#
# Seen:
#   openvino 2026.4.1
#   before: mapped
#   compiled here, let go here: mapped
#   compiled here, let go in another thread: UNMAPPED
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check openvino==2026.4.1 numpy==2.3.5

cat > look.py <<'EOF'
import ctypes
import faulthandler
import gc
import sys
import threading

import numpy as np
import openvino
import openvino.opset13 as ops

faulthandler.enable()  # gives the main thread an alternate signal stack


class Stack(ctypes.Structure):
    _fields_ = [('address', ctypes.c_void_p), ('flags', ctypes.c_int), ('size', ctypes.c_size_t)]


def state():
    stack = Stack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack)) == 0
    with open('/proc/self/maps') as maps:
        areas = [[int(end, 16) for end in line.split()[0].split('-')] for line in maps]
    return 'mapped' if any(first <= stack.address < last for first, last in areas) else 'UNMAPPED'


def compiled():
    image = ops.parameter([1, 1, 4, 4], np.float32)
    return openvino.Core().compile_model(openvino.Model([ops.relu(image)], [image]), 'CPU')


seen = [state()]
models = [compiled()]
models.clear()
gc.collect()
seen.append(state())
models = [compiled()]
thread = threading.Thread(target=models.clear)
thread.start()
thread.join()
gc.collect()
seen.append(state())
print('openvino', openvino.__version__.split('-')[0])
for what, found in zip(('before', 'compiled here, let go here', 'compiled here, let go in another thread'), seen):
    print(f'{what}: {found}')
sys.exit(seen != ['mapped', 'mapped', 'UNMAPPED'])
EOF
env/bin/python look.py && echo 'as described' || { echo 'this has changed'; exit 1; }
