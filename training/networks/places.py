"""Where things stand: edges and columns placed by `w`, outlined by the fields.

A style can colour and switch, but it moves things badly. StyleGAN3 therefore transforms its Fourier input by `w`
(Karras et al. 2021); here `w` places a few soft edges, each bent by the random fields that the generator sees anyway,
so that "trees stand along the horizon" is one edge with the field `trees` as its outline, and a bolt is a column bent
by `wander`:

    row_k(y, x)    = y − at_k − Σ_f bend_kf · (field_f − ½) − Σ_c lift_kc · exp(−½ ((x − at_c) / spread_c)²)
    column_c(y, x) = x − at_c − Σ_f bend_cf · (field_f − ½) − shear_c · y

Every resolution gets `tanh(row / size)`, `tanh(column / size)` and, of the first rows paired with the columns,
`exp(−½ (row² + column²))`. All numbers come from `w`; `size` is never finer than the grid can show, so a coarse grid
sees the soft version of an edge that a fine one sees sharp, and a misplaced edge is still felt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.device import exact

Part = tuple[slice, slice]  # rows and columns of a grid


@dataclass(frozen=True, slots=True)
class Placed:
    """What `w` says about places, for a batch: coordinates run −1..1 both ways, sizes are logarithms."""

    at: Tensor  # [B, R + C]
    size: Tensor  # [B, R + C]
    bend: Tensor  # [B, R + C, F]
    lift: Tensor  # [B, R, C]
    spread: Tensor  # [B, C]
    shear: Tensor  # [B, C]


class Places(nn.Module):
    """`w [B, D]` → `Placed`: an affine map, so that known positions can be written into it, plus a perceptron."""

    def __init__(self, dim: int, fields: int, rows: int, columns: int, hidden: int = 64) -> None:
        super().__init__()
        self.rows, self.columns, self.fields = rows, columns, fields
        count = rows + columns
        self.sizes = (count, count, count * fields, rows * columns, columns, columns)
        self.affine = nn.Linear(dim, sum(self.sizes))
        nn.init.normal_(self.affine.weight, std=0.01 / math.sqrt(dim))
        nn.init.zeros_(self.affine.bias)
        self.curve = nn.Sequential(nn.Linear(dim, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, sum(self.sizes)))
        nn.init.normal_(self.curve[2].weight, std=0.005 / math.sqrt(hidden))
        nn.init.zeros_(self.curve[2].bias)
        with torch.no_grad():
            at, size, _, _, spread, _ = self.affine.bias.split(self.sizes)
            at[:rows], at[rows:] = torch.linspace(-0.6, 0.6, rows), torch.linspace(-0.5, 0.5, columns)
            size.fill_(-1.2)
            spread.fill_(-1.0)

    @property
    def channels(self) -> int:
        """Features that `draw` returns."""
        return self.rows + 2 * self.columns

    @exact
    def forward(self, w: Tensor) -> Placed:
        at, size, bend, lift, spread, shear = (self.affine(w) + self.curve(w)).split(self.sizes, 1)
        bend, lift = bend.view(len(w), -1, self.fields), lift.view(len(w), self.rows, self.columns)
        return Placed(at, size, bend, lift, spread, shear)

    @torch.no_grad()
    def know(self, place: int, what: str, bias: float, weights: dict[int, float], by: int = 0) -> None:
        """Write into the affine map that `what` of a place is `bias` plus `weights` times components of `w`.

        `place` counts the rows, then the columns; `by` is the field that bends it, or the column that lifts it.
        """
        part = ("at", "size", "bend", "lift", "spread", "shear").index(what)
        column = place - self.rows
        within = {
            "bend": place * self.fields + by,
            "lift": place * self.columns + by,
            "spread": column,
            "shear": column,
        }.get(what, place)
        entry = sum(self.sizes[:part]) + within
        self.affine.weight[entry] = 0.0
        self.affine.bias[entry] = bias
        for component, weight in weights.items():
            self.affine.weight[entry, component] = weight


@exact
def draw(places: Placed, fields: Tensor, grid: tuple[int, int], part: Part | None = None) -> Tensor:
    """The features `[B, R + 2C, h, w]` of `places` on `grid`, or on the part of it that `fields [B, F, h, w]` show."""
    rows, columns = places.lift.shape[1:]
    y, x = (((torch.arange(n, device=fields.device) + 0.5) / n * 2 - 1) for n in grid)
    if part is not None:
        y, x = y[part[0]], x[part[1]]
    y, x = y.view(1, 1, -1, 1), x.view(1, 1, 1, -1)
    at = places.at[:, :, None, None]
    across = (x - at[:, rows:]) * torch.exp(-places.spread.clamp(-4.0, 1.0))[:, :, None, None]  # [B, C, 1, w]
    lift = (places.lift @ torch.exp(-0.5 * across.square()).flatten(2)).unsqueeze(2)  # [B, R, 1, w]
    still = [y - at[:, :rows] - lift, x - at[:, rows:] - places.shear[:, :, None, None] * y]
    bend = (places.bend @ (fields.flatten(2) - 0.5)).unflatten(2, fields.shape[2:])
    sharp = torch.exp(-places.size.clamp(-math.log(grid[0]), 1.0))[:, :, None, None]
    distance = (torch.cat(still, 1) - bend) * sharp
    pairs = distance[:, :columns].square() + distance[:, rows:].square()
    return torch.cat([torch.tanh(distance), torch.exp(-0.5 * pairs)], 1)
