"""The contract of a bundle's graphs: which tensors go in and out, and of what shapes.

Every shape follows from a few numbers, the bundle's `Dimensions`. A manifest is held against this table when it is read
(`engine.bundle`), a graph file when it is opened (`engine.runtime.session.verify_session`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

GRAPHS = ("encoder", "reader", "recurrent", "generator", "text", "mapping")
"""Those that every bundle has that knows words; `small` may come besides."""
GROUPS = ("coarse", "mid", "fine")
Size = Annotated[int, Field(ge=1, le=65536)]


class StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TensorSpec(StrictModel):
    """Shape and element type of one input or output of a graph."""

    shape: tuple[Size, ...]
    dtype: Literal["float32", "uint8", "int64"] = "float32"

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"


@dataclass(frozen=True, slots=True)
class Dimensions:
    """The numbers that all shapes of a bundle follow from."""

    layers: int
    dim: int
    embedding_dim: int
    z_dim: int
    hidden: int
    fields: int
    detail: int
    height: int
    width: int
    cell: int
    bands: int
    columns: int
    text_length: int
    small: tuple[int, int, int] | None = None
    """Rows, columns and size of the cells in which the same picture can be painted with less work."""


GraphTensors = tuple[dict[str, TensorSpec], dict[str, TensorSpec]]
"""Inputs and outputs of one graph."""


def graph_contract(d: Dimensions) -> dict[str, GraphTensors]:
    """Names, shapes and types of all inputs and outputs of the graphs, in the order of `GRAPHS`, `small`
    last.

    Without fields the generator takes none; without words there is no text graph. `rgba` holds the picture's cells,
    each row by row; with cells of one pixel that is the picture. `small` is the generator on a coarser grid with larger
    cells; of the fine fields it takes as many pixels for each as the generator does.
    """

    def f32(*shape: int) -> TensorSpec:
        return TensorSpec(shape=shape)

    def u8(*shape: int) -> TensorSpec:
        return TensorSpec(shape=shape, dtype="uint8")

    w, unit, hidden = f32(1, d.layers, d.dim), f32(1, d.embedding_dim), f32(1, d.hidden)

    def painting(rows: int, columns: int, cell: int) -> GraphTensors:
        taken = {"w_plus": w}
        if d.fields:
            taken["fields"] = u8(1, d.fields, rows + 1, columns + 1)
            taken["fraction"] = f32(1, d.fields, 2)
            taken["detail"] = u8(1, rows, columns, d.detail * d.cell**2)
        return taken, {"rgba": u8(rows, columns, cell**2 * 4)}

    text = {}
    small = {} if d.small is None else {"small": painting(*d.small)}
    if d.text_length:
        tokens = TensorSpec(shape=(1, d.text_length), dtype="int64")
        text["text"] = ({"tokens": tokens}, {"delta": w, "embedding": unit})
    return {
        "encoder": ({"mel": f32(1, 1, d.bands, d.columns)}, {"delta": w}),
        "reader": ({"mel": f32(1, 1, d.bands, d.columns)}, {"embedding": unit}),
        "recurrent": (
            {"w": w, "base": w, "delta": w, "noise": w} | {f"h_{group}": hidden for group in GROUPS},
            {"w_next": w} | {f"h_{group}_next": hidden for group in GROUPS},
        ),
        "generator": painting(d.height // d.cell, d.width // d.cell, d.cell),
        **text,
        "mapping": ({"z": f32(1, d.z_dim)}, {"w": w}),
        **small,
    }


def compare_tensors(where: str, expected: Mapping[str, TensorSpec], found: Mapping[str, TensorSpec]) -> None:
    """Raise ValueError with one line that names the first tensor which is missing, extra or of another shape."""
    for name, spec in expected.items():
        if name not in found:
            raise ValueError(f"{where} {name} is missing")
        if found[name] != spec:
            raise ValueError(f"{where} {name} is {found[name]}, expected {spec}")
    for name in found:
        if name not in expected:
            raise ValueError(f"{where} {name} is not part of the contract")
