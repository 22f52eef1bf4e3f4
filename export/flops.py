"""How much a graph computes: convolutions and matrix products, two operations for each multiplication with its sum."""

from __future__ import annotations

from math import prod
from pathlib import Path

import onnx

from export.rewrite import shapes


def gflop(path: Path) -> float:
    """10⁹ floating-point operations of one run. Resampling, activations and other passes over memory do not count."""
    model = onnx.load(path)
    known = shapes(model)
    total = 0
    for node in model.graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            weights, image = known[node.input[1]], known[node.output[0] if node.op_type == "Conv" else node.input[0]]
            total += 2 * prod(weights) * prod(image[2:]) * image[0]
        elif node.op_type in ("Gemm", "MatMul"):
            left, out = known[node.input[0]], known[node.output[0]]
            transposed = any(a.name == "transA" and a.i for a in node.attribute)
            total += 2 * prod(out) * left[0 if transposed else -1]
    return total / 1e9
