#!/usr/bin/env bash
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
# Everything that only a GPU can show, in one run of at most 9 minutes, without a network: that every kernel compiles and
# gives the numbers of plain torch, how fast kernels and pipeline are, where the host waits for the device, and how fast
# the network trains. Results go to the folder, those of each part as soon as it ends.
#
#   tools/gpu_check.sh [FOLDER]                   default: gpu_check
#   tools/gpu_check.sh FOLDER --seconds 200       what does not fit is left out
#   tools/gpu_check.sh FOLDER --only parity bev   some parts
#   tools/gpu_check.sh FOLDER --dry-run           the same program on the CPU with tiny sizes, to see that it runs
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-gpu_check}
shift || true
mkdir -p "$out"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
python=${PYTHON:-python3}
"$python" tools/gpu_check.py --out "$out" "$@" 2>&1 | tee "$out/gpu_check.log"
exit "${PIPESTATUS[0]}"
