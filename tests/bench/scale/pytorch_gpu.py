"""What a GPU does of the plan's work, by the same sizes restated in PyTorch.

    python -m tests.bench.scale.pytorch_gpu

For machines that have a GPU and PyTorch but no TensorFlow; it needs nothing else. It prints the
seconds of a training step of the attending decoder on stored features, of DenseNet201 forwards, and
of DenseNet201 forwards and backwards, all in bfloat16 with float32 weights.
"""

import json
import time
from collections.abc import Callable, Sequence

import torch
from torch import nn

from tests.bench.training.pytorch_decoder import Attention, Sizes, make_step

WORDS, POSITIONS, CHANNELS, UNITS, LENGTH = 2540, 49, 1920, 512, 13
CAPTIONS = (64, 512, 4096)
IMAGES = (64, 256)
GROWTH, BLOCKS = 32, (6, 12, 48, 32)


class DenseLayer(nn.Module):
    """A layer of a dense block: its output is appended to its input (Huang et al. 2017)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, 4 * GROWTH, 1, bias=False),
            nn.BatchNorm2d(4 * GROWTH),
            nn.ReLU(),
            nn.Conv2d(4 * GROWTH, GROWTH, 3, padding=1, bias=False),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.cat([images, self.convolutions(images)], dim=1)


def make_densenet() -> nn.Module:
    """Builds DenseNet201 without its head, with random weights."""
    channels = 2 * GROWTH
    layers: list[nn.Module] = [
        nn.Conv2d(3, channels, 7, 2, 3, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]
    for number, count in enumerate(BLOCKS):
        layers += [DenseLayer(channels + GROWTH * place) for place in range(count)]
        channels += GROWTH * count
        layers += [nn.BatchNorm2d(channels), nn.ReLU()]
        if number < len(BLOCKS) - 1:
            layers += [nn.Conv2d(channels, channels // 2, 1, bias=False), nn.AvgPool2d(2)]
            channels //= 2
    return nn.Sequential(*layers)


def time_calls(call: Callable[[], object], warm_up: int = 5, calls: int = 20) -> float:
    """Measures the mean seconds of a call, GPU included."""
    for _ in range(warm_up):
        call()
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(calls):
        call()
    torch.cuda.synchronize()
    return (time.perf_counter() - started) / calls


def time_decoder(captions: int) -> tuple[float, float]:
    """Measures a training step of the decoder: launched op by op, and as one CUDA graph."""
    decoder = Attention(Sizes(WORDS, CHANNELS, UNITS)).cuda()
    take = make_step(decoder, half=True, capturable=True)
    features = torch.randn(captions, POSITIONS, CHANNELS, device="cuda", dtype=torch.bfloat16)
    tokens = torch.randint(1, WORDS, (captions, LENGTH + 1), device="cuda")

    def step() -> None:
        take(features, tokens)

    launched = time_calls(step)
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        step()
    return launched, time_calls(graph.replay)


def time_encoder(images: int) -> tuple[float, float]:
    """Measures DenseNet201 on a batch: forwards, and forwards and backwards with the update."""
    network = make_densenet().cuda().to(memory_format=torch.channels_last)
    pictures = torch.randn(images, 3, 224, 224, device="cuda")
    pictures = pictures.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), 1e-3)

    def forward() -> torch.Tensor:
        with torch.autocast("cuda", torch.bfloat16):
            return network(pictures)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        forward().float().mean().backward()
        optimizer.step()

    network.eval()
    with torch.no_grad():
        forwards = time_calls(forward, calls=10)
    network.train()
    return forwards, time_calls(step, calls=10)


def measure(
    captions: Sequence[int] = CAPTIONS, images: Sequence[int] = IMAGES
) -> dict[str, object]:
    """Measures all of it: name to seconds, and the names of GPU and PyTorch."""
    found: dict[str, object] = {
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
    }
    for count in captions:
        launched, graph = time_decoder(count)
        found[f"decoder step, {count} captions, op by op"] = launched
        found[f"decoder step, {count} captions, one graph"] = graph
    for count in images:
        forwards, step = time_encoder(count)
        found[f"encoder forwards, {count} images"] = forwards
        found[f"encoder step, {count} images"] = step
    return found


if __name__ == "__main__":
    torch.backends.cudnn.benchmark = True
    print(json.dumps(measure(), indent=1))
