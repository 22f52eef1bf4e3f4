"""The generator on a coarser grid: the same pictures, softer, for less than half the multiplications.

Our own generator (`training.networks.stylegan2`) is told by coordinates where things stand, so the weights that paint a
picture on one grid paint it on another. All that depends on the grid is its learned constant, the coordinates and the
shapes that tensors are turned to; they are rewritten in the ONNX file, so that no checkpoint has to be at hand.

Two thirds of the rows and columns make do with cells half as large again (`engine.bundle.SmallSpec`). The last two
convolutions give out what becomes the picture; they are linear, so enlarging a cell is a matter of their weights.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from engine.bundle import Bundle, GraphSpec, ImageSpec, SmallSpec, describe_graph, load_bundle, write_manifest
from engine.cells import Cells
from engine.contract import Dimensions, graph_contract
from engine.errors import BundleError
from engine.fields import FieldFlow
from engine.runtime import open_graph, open_session
from engine.runtime.session import verify_session
from export.quantise import places
from export.rewrite import Constants, copy_of, drop_unused, shapes

GRAPH = "small"
LIMIT_GREY = 10.0
"""Mean grey levels between squares of both pictures over which nothing is written. The shipped bundle's are 5.7 apart,
3.1 of which come of what sticks out; whole pictures of different places are 62 apart."""
SQUARE = 4
"""Cells of the whole picture along the sides of the squares whose averages are compared: the small picture is softer,
and all in it is wider by as much as its columns stick out."""
CHANNELS = 4


def add_small(folder: Path) -> dict[str, float] | None:
    """Give the bundle in `folder` the graph `small` and return how far its pictures are from the whole ones, in grey
    levels; None, and nothing is done, if its generator is not one that can be painted so.

    Raises `BundleError` when they are over `LIMIT_GREY` apart; the bundle then stays as it was.
    """
    bundle = load_bundle(folder)
    manifest, image = bundle.manifest, bundle.manifest.image
    model = onnx.load(bundle.graph_path("generator"))
    grids = _grids(model, image)
    if grids is None:
        return None
    rows, columns = grids.finest
    small = SmallSpec(rows=rows, columns=columns, cell=image.cell * 3 // 2)
    manifest = manifest.model_copy(update={"image": ImageSpec(**image.model_dump(exclude={"small"}), small=small)})
    target = folder / f"{GRAPH}.onnx"
    temporary = target.with_suffix(".tmp.onnx")
    try:
        onnx.save(_rewritten(model, grids, manifest.dimensions), temporary)
        graph = describe_graph(temporary, GRAPH, manifest.dimensions)
        found = _compare(Bundle(folder, manifest, bundle.tensors), temporary, graph)
        if not found["mean"] <= LIMIT_GREY:
            raise BundleError(
                f"generator on a coarser grid differs by {found['mean']:.3g} grey levels of 255 in the mean, the limit "
                f"is {LIMIT_GREY:g}"
            )
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    changed = {
        "graphs": {**manifest.graphs, GRAPH: graph.model_copy(update={"file": target.name})},
        "provenance": {**manifest.provenance, GRAPH: found},
    }
    write_manifest(folder, manifest.model_copy(update=changed))
    return found


@dataclass(frozen=True, slots=True)
class _Grids:
    """Rows and columns of all the generator's grids, coarsest first, and what becomes of them."""

    rows: dict[int, int]
    columns: dict[int, int]

    @property
    def finest(self) -> tuple[int, int]:
        """New rows and columns, one for each cell of the picture."""
        return list(self.rows.values())[-1], list(self.columns.values())[-1]


def _grids(model: ModelProto, image: ImageSpec) -> _Grids | None:
    """None unless a learned constant is doubled to the grid of cells, coordinates are known for each grid, two thirds
    of the rows are whole ones, and cells can be half as large again."""
    height, width = image.height // image.cell, image.width // image.cell
    coordinates: dict[int, set[int]] = {2: set(), 3: set()}
    for tensor in model.graph.initializer:
        if (axis := _axis_of_coordinates(tensor)) is not None:
            coordinates[axis].add(tensor.dims[axis])
    for tensor in model.graph.initializer:
        if len(tensor.dims) != 4 or tensor.dims[1] == 1:
            continue
        rows, columns = tensor.dims[2:]
        levels = range(round(math.log2(height / rows)) + 1)
        both = [[n << k for k in levels] for n in (rows, columns)]
        if len(levels) < 3 or rows % 3 or image.cell % 2 or [each[-1] for each in both] != [height, width]:
            continue
        if [coordinates[2], coordinates[3]] == [set(each) for each in both]:
            fewer = rows * 2 // 3, math.ceil(columns * 2 / 3)
            return _Grids(*[{n << k: m << k for k in levels} for n, m in zip((rows, columns), fewer, strict=True)])
    return None


def _rewritten(model: ModelProto, grids: _Grids, dimensions: Dimensions) -> ModelProto:
    """A copy that is the graph `small` of these dimensions. Raises `BundleError` for one that is built otherwise."""
    model = copy_of(model)
    assert dimensions.small is not None
    _to_coarser_grids(model, grids)
    _to_larger_cells(model, dimensions.cell, dimensions.small[2])
    inputs, outputs = graph_contract(dimensions)[GRAPH]
    for end in (*model.graph.input, *model.graph.output):
        shape = (inputs | outputs)[end.name].shape
        for dimension, size in zip(end.type.tensor_type.shape.dim, shape, strict=True):
            dimension.dim_value = size
    del model.graph.value_info[:]
    drop_unused(model.graph)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BundleError(f"generator cannot be painted on a coarser grid: {reason}") from error
    return model


def _to_coarser_grids(model: ModelProto, grids: _Grids) -> None:
    """Let a graph compute on the new grids, and give out cells as they were."""
    graph, sizes, constants = model.graph, shapes(model), Constants(model)
    coarsest = [next(iter(changed)) for changed in (grids.rows, grids.columns)]
    for tensor in graph.initializer:
        size = list(tensor.dims)
        if len(size) != 4:
            continue
        if (axis := _axis_of_coordinates(tensor)) is not None:
            size[axis] = (grids.rows if axis == 2 else grids.columns)[size[axis]]
            value = _coordinates(size[axis]).reshape(size)
        elif size[2:] == coarsest:  # the learned constant, and what the exporter worked out of it
            value = numpy_helper.to_array(tensor)
            for axis, changed in ((2, grids.rows), (3, grids.columns)):
                matrix = _interpolation(size[axis], changed[size[axis]])
                value = np.moveaxis(np.tensordot(matrix, value, (1, axis)), 0, axis)
        else:
            continue
        tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float32), tensor.name))
    for node in graph.node:
        if node.op_type == "Reshape":
            target = constants.value(node.input[1])
            assert target is not None, "shapes are static"
            wanted = _new_shape(list(map(int, target)), sizes[node.input[0]], grids)
            node.input[1] = f"{node.output[0]}_shape"  # its own, for constants are shared
            graph.initializer.append(numpy_helper.from_array(np.array(wanted, np.int64), node.input[1]))


def _new_shape(target: list[int], source: list[int], grids: _Grids) -> list[int]:
    """What a tensor is turned to, when it has a grid, rows of its places, or a row of them."""
    rows, columns = grids.rows, grids.columns
    if len(target) == 4 and target[2] in rows and target[3] in columns:
        return [*target[:2], rows[target[2]], columns[target[3]]]
    if len(target) == 3 and len(source) == 4 and source[3] in columns and target[2] == source[2] * source[3]:
        return [*target[:2], rows.get(source[2], source[2]) * columns[source[3]]]
    return target


def _to_larger_cells(model: ModelProto, old: int, new: int) -> None:
    """Let a graph give out its cells of `old` × `old` pixels enlarged to `new` × `new`. Raises `BundleError` unless the
    picture is the sum of two convolutions, limited."""
    graph, constants = model.graph, Constants(model)
    made_by = {name: node for node in graph.node for name in node.output}
    name = "rgba"
    for kind in ("Cast", "Squeeze", "Transpose", "Clip", "Add"):
        node = made_by.get(name)
        if node is None or node.op_type != kind:
            raise BundleError(f"generator: {name} is not made by {kind}, so it cannot be painted on a coarser grid")
        name = node.input[0]
    assert node is not None
    larger = np.kron(np.kron(*[_interpolation(old, new)] * 2), np.eye(CHANNELS))
    for name in node.input:
        convolution = made_by.get(name)
        if convolution is None or convolution.op_type != "Conv":
            raise BundleError(f"generator: its picture is not the sum of two convolutions: {name}")
        _multiply(convolution, larger, constants, graph)


def _multiply(node: NodeProto, matrix: NDArray[np.float64], constants: Constants, graph: onnx.GraphProto) -> None:
    """Let a convolution give out `matrix` times its channels."""
    for position, name in enumerate(node.input[1:], 1):
        value = constants.value(name)
        if value is None or len(value) != matrix.shape[1]:
            raise BundleError(f"generator: {node.output[0]} does not give out cells")
        node.input[position] = f"{name}_larger"
        larger = np.tensordot(matrix, value.astype(np.float64), 1).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(larger, node.input[position]))


def _interpolation(old: int, new: int) -> NDArray[np.float64]:
    """`[new, old]`: bilinear, pixels seen in their middles, the outermost ones repeated beyond the border."""
    at = ((np.arange(new) + 0.5) * old / new - 0.5).clip(0, old - 1)
    return np.maximum(0.0, 1.0 - np.abs(at[:, None] - np.arange(old)))


def _coordinates(count: int) -> NDArray[np.float64]:
    """Of the places along one side, as `training.networks.places.draw` counts them."""
    return (np.arange(count) + 0.5) / count * 2.0 - 1.0


def _axis_of_coordinates(tensor: TensorProto) -> int | None:
    """2 for the coordinates of rows, 3 for those of columns, None for anything else."""
    size = list(tensor.dims)
    if len(size) != 4 or math.prod(size) < 2 or math.prod(size) not in size[2:]:
        return None
    known = np.allclose(numpy_helper.to_array(tensor).ravel(), _coordinates(math.prod(size)), atol=1e-5)
    return (2 if size[2] > 1 else 3) if known else None


def _compare(bundle: Bundle, path: Path, graph: GraphSpec) -> dict[str, float]:
    """Mean difference of both pictures' squares, in grey levels, over `places` of a show and in the worst of them; each
    with fields that flowed elsewhere."""
    image, draws = bundle.manifest.image, np.random.default_rng(7)
    flows = FieldFlow.of(bundle), FieldFlow.of(bundle, small=True)
    whole = open_graph(bundle, "generator", "onnxruntime")
    small = open_session(path, "onnxruntime")
    try:
        verify_session(small, graph)
        assert image.small is not None
        grid = image.small.rows, image.small.columns
        cells = (
            Cells(image.height, image.width, image.cell),
            Cells(image.height, image.width, image.small.cell, grid),
        )
        apart = []
        for w_plus in places(bundle, draws):
            offsets = draws.random((len(bundle.manifest.fields), 2))
            squares = []
            for session, flow, shown in zip((whole, small), flows, cells, strict=True):
                flow.seek(offsets)
                picture = shown.picture(session.run({"w_plus": w_plus, **flow.sample()})["rgba"])
                squares.append(_squares(picture, SQUARE * image.cell))
            apart.append(float(np.abs(squares[0] - squares[1]).mean()))
    finally:
        whole.close()
        small.close()
    return {"places": len(apart), "mean": float(f"{np.mean(apart):.6g}"), "worst_place": float(f"{max(apart):.6g}")}


def _squares(picture: NDArray[np.uint8], side: int) -> NDArray[np.float64]:
    """RGB of a picture's squares of `side` × `side` pixels, averaged."""
    height, width = picture.shape[:2]
    squares = picture[..., :3].reshape(height // side, side, width // side, side, 3)
    return np.asarray(squares.mean((1, 3)))
