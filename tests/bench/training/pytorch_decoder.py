"""The attending decoder and its training step restated in PyTorch, as a person would write them.

It imports PyTorch alone, so that machines without TensorFlow can time it, too.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

DROPOUT, LABEL_SMOOTHING, CLIP_NORM = 0.5, 0.1, 5.0

Step = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Takes features [B, L, C] and tokens int64 [B, T], changes the weights and returns the loss []."""


class Sizes(NamedTuple):
    """Sizes of the decoder.

    Attributes:
        words: V.
        channels: C, of each position of the grid.
        units: of all layers.
    """

    words: int
    channels: int
    units: int


class Attention(nn.Module):
    """The decoder of `imgcap/model/decoders/attention.py`, under teacher forcing."""

    def __init__(self, sizes: Sizes) -> None:
        """Makes the layers.

        Args:
            sizes: of the decoder.
        """
        super().__init__()
        words, channels, units = sizes
        self.embedding = nn.Embedding(words, units)
        self.values, self.keys = nn.Linear(channels, units), nn.Linear(units, units)
        self.initial_state = nn.Linear(channels, 2 * units)
        self.query = nn.Linear(units, units, bias=False)
        self.energy = nn.Linear(units, 1, bias=False)
        self.gate = nn.Linear(units, units)
        self.inputs = nn.Linear(units, 4 * units)
        self.recurrent = nn.Linear(units, 4 * units, bias=False)
        self.context_to_gates = nn.Linear(units, 4 * units, bias=False)
        self.context_to_output = nn.Linear(units, units, bias=False)
        self.logits = nn.Linear(units, words)

    def forward(self, features: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Computes the logits [B, T, V] of features [B, L, C] and tokens [B, T]."""
        features = self._dropout(features)
        values = self.values(features)
        keys = self.keys(values)
        hidden, cell = torch.tanh(self.initial_state(features.mean(1))).float().chunk(2, -1)
        inputs = self.inputs(self._dropout(self.embedding(tokens)))
        outputs = []
        for place in range(tokens.shape[1]):
            energies = self.energy(torch.tanh(keys + self.query(hidden)[:, None]))[..., 0]
            weights = torch.softmax(energies.float(), -1).to(values.dtype)
            context = torch.einsum("bl,bld->bd", weights, values)
            context = torch.sigmoid(self.gate(hidden)) * context
            gates = inputs[:, place] + self.context_to_gates(context) + self.recurrent(hidden)
            i, f, g, o = gates.float().chunk(4, -1)
            cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
            hidden = torch.sigmoid(o) * torch.tanh(cell)
            outputs.append(hidden + self.context_to_output(context).float())
        return self.logits(self._dropout(torch.stack(outputs, 1))).float()

    def _dropout(self, values: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(values, DROPOUT, self.training)


def make_step(decoder: Attention, half: bool, capturable: bool = False) -> Step:
    """Builds a training step: label smoothing, clipped gradients, Adam.

    Args:
        decoder: that is trained, on the device where the batches are.
        half: whether products run in bfloat16; the weights stay float32.
        capturable: whether the optimizer must run inside a CUDA graph.

    Returns:
        The step; words 0 are padding, which costs nothing.
    """
    # Fused: the fastest Adam that PyTorch has, on CPUs as on GPUs.
    optimizer = torch.optim.Adam(decoder.parameters(), fused=True, capturable=capturable)
    device = next(decoder.parameters()).device.type

    def step(features: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16, enabled=half):
            logits = decoder(features, tokens[:, :-1]).flatten(0, 1)
            loss = nn.functional.cross_entropy(
                logits, tokens[:, 1:].flatten(), ignore_index=0, label_smoothing=LABEL_SMOOTHING
            )
        loss.backward()
        nn.utils.clip_grad_norm_(decoder.parameters(), CLIP_NORM)
        optimizer.step()
        return loss.detach()

    return step
