# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Fuzzing of everything that comes from outside: mutations, the table of decoders, and what must hold of an answer.

`tools/fuzz_decoders.py` runs it, `tools/fuzz_node.py` does the same to a running node.
"""
