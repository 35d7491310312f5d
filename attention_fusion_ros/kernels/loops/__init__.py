# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Loops over points and cells, written for numba: numbers and arrays in, nothing else.

Without numba they are plain, slow Python with the same results. `kernels.fast` makes versions of operations of them.
Sizes and thresholds are arguments and never names of other modules: what numba keeps on disk it takes for valid while
the file itself has not changed.
"""
