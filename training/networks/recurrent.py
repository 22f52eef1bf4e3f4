"""The recurrent frame generator (Eq. 5): three GRUs, coarse, mid and fine, each with its own hidden state."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEAK = 0.3  # share of the way to base + Δ taken each step; 0.3 at 30 Hz is a time constant of about 95 ms
RESIDUAL = 0.12  # bound of one step's own movement, in standard deviations of W


class RecurrentStep(nn.Module):
    """`w_t = w_{t−1} + leak·(base + Δ_t − w_{t−1}) + σ·ρ·tanh(head(GRU(w_{t−1} − base, Δ_t, n_t)))`.

    Sound enters every step through Δ_t; `base` is the preset's latent, or the random start w of Eq. 1. The residual
    head starts at zero. The step is a contraction plus a bounded term, so `|w − base| ≤ max|Δ| + σ·ρ/leak` for ever.
    """

    def __init__(self, groups: dict[str, tuple[int, int]], dim: int, hidden: int = 96) -> None:
        super().__init__()
        self.groups, self.dim, self.hidden = dict(groups), dim, hidden
        self.cells = nn.ModuleDict()
        self.heads = nn.ModuleDict()
        for name, (start, stop) in groups.items():
            size = (stop - start) * dim
            self.cells[name] = nn.GRUCell(3 * size, hidden)
            self.heads[name] = nn.Linear(hidden, size)
            nn.init.zeros_(self.heads[name].weight)
            nn.init.zeros_(self.heads[name].bias)
        self.register_buffer("deviation", torch.ones(dim))

    def start(self, batch: int) -> dict[str, Tensor]:
        """Hidden states before the first sound: zeros `{group: [B, hidden]}`."""
        return {name: self.deviation.new_zeros(batch, self.hidden) for name in self.groups}

    def forward(
        self, w: Tensor, base: Tensor, delta: Tensor, noise: Tensor, hidden: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """All of `[B, L, D]`, hidden `{group: [B, hidden]}` → next w, next hidden."""
        moved, after = [], {}
        for name, (start, stop) in self.groups.items():
            part = [x[:, start:stop].flatten(1) for x in (w - base, delta, noise)]
            after[name] = self.cells[name](torch.cat(part, 1), hidden[name])
            moved.append(torch.tanh(self.heads[name](after[name])).view(w.shape[0], stop - start, self.dim))
        residual = RESIDUAL * self.deviation * torch.cat(moved, 1)
        return w + LEAK * (base + delta - w) + residual, after
