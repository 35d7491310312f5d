#!/usr/bin/env bash
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
# For a GPU that is had for a few minutes, without a network: makes scenes on all cores, trains one network or several side
# by side until the time is up, and puts weights, records and logs into a folder.
#
#   tools/gpu_train.sh FOLDER --seconds 480 --scenes 2048 --osm A.osm.gz B.osm.gz --runs config/train.yaml=start.safetensors
#   tools/gpu_train.sh FOLDER --dry-run --runs ...     the same on the CPU with a handful of scenes, to see that it runs
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1
exec "${PYTHON:-python3}" tools/gpu_train.py --out "$@"
