"""Versions that come, are broken, and go, under many callers.

python -m tests.campaign hot_swap
"""

import random
import shutil
import tempfile
import time
from pathlib import Path

from imgcap.host.progress import Progress
from serving.client import CaptionClient
from tests.campaign.figures import Row, Tally
from tests.campaign.server.world import GoodCallers, server_kind, write_export
from tests.support.servers import server_process

SIZE = 200
"""Swaps of the long form."""

WORDS = ("north", "east", "south", "west")
"""First words of the captions; version n speaks word n modulo 4."""

_SECONDS = 60.0


class Shelf:
    """The folder of a model, changed while a server reads it.

    Attributes:
        newest: number of the newest version that is whole.
    """

    def __init__(self, base_path: Path, toys: list[Path], rng: random.Random) -> None:
        self.newest, self._highest = 0, 0
        self._whole: list[int] = []
        self._base_path, self._toys, self._rng = base_path, toys, rng

    def publish(self) -> None:
        """Puts a new version in place by rename."""
        self._highest += 1
        self.newest = self._highest
        self._whole.append(self.newest)
        self._place(self._toys[self.newest % len(WORDS)])

    def publish_broken(self) -> None:
        """Puts a version in place that cannot be loaded."""
        self._highest += 1
        toy = self._toys[self._highest % len(WORDS)]
        kind = self._rng.choice(("empty", "no graph", "cut graph", "no variables", "warm-up"))
        half = self._base_path / ".broken"
        if kind == "empty":
            half.mkdir()
        else:
            shutil.copytree(toy, half)
        graph = half / "saved_model.pb"
        if kind == "no graph":
            graph.unlink()
        elif kind == "cut graph":
            graph.write_bytes(graph.read_bytes()[: self._rng.randrange(1, 20_000)])
        elif kind == "no variables":
            shutil.rmtree(half / "variables")
        elif kind == "warm-up":
            (half / "assets.extra").mkdir()
            (half / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"nonsense")
        half.rename(self._base_path / str(self._highest))

    def tidy(self, keep: int) -> None:
        """Removes all but the newest whole versions, broken ones too."""
        for path in self._base_path.iterdir():
            if not path.name.startswith(".") and int(path.name) <= self.newest - keep:
                shutil.rmtree(path)

    def withdraw(self) -> None:
        """Removes the version that is served, and all that are newer; the one before comes back."""
        self._whole.pop()
        self.newest = self._whole[-1]
        for path in self._base_path.iterdir():
            if int(path.name) > self.newest:
                shutil.rmtree(path)

    def can_withdraw(self) -> bool:
        """Whether there is a whole version before the one that is served."""
        return len(self._whole) > 1 and (self._base_path / str(self._whole[-2])).is_dir()

    def _place(self, toy: Path) -> None:
        half = self._base_path / ".half"
        shutil.copytree(toy, half)
        half.rename(self._base_path / str(self.newest))


def run(size: int, seed: int, callers: int = 32) -> list[Row]:
    """Swaps versions under callers.

    Args:
        size: number of swaps.
        seed: decides what happens.
        callers: how many ask at once.

    Returns:
        Rows of the swaps by kind, and of the requests: right ones, and lost ones.
    """
    rng, tally = random.Random(seed), Tally("swaps", "broken versions", "versions withdrawn")
    with tempfile.TemporaryDirectory(prefix="imgcap-swap-") as folder:
        toys = [write_export(Path(folder, "toys", word), word) for word in WORDS]
        base_path = Path(folder, "imgcap")
        base_path.mkdir()
        shelf = Shelf(base_path, toys, rng)
        shelf.publish()
        with (
            server_process(server_kind(), model_base_path=str(base_path)) as server,
            CaptionClient(server.target) as client,
            GoodCallers(server.target, b"four", callers, _is_right, pause=0.02) as good,
            Progress("hot swap", size, "swaps") as progress,
        ):
            for number in range(size):
                kind = _change(shelf, rng)
                tally.add(kind, _wait(client, shelf.newest), f"--seed={seed} swap {number}")
                progress.advance()
    for asked in good.asked:
        tally.add("requests", asked.problem)
    versions = {asked.version for asked in good.asked}
    return [*tally.rows(), Row("versions that answered", 0, 0, str(len(versions)))]


def _change(shelf: Shelf, rng: random.Random) -> str:
    """Does one thing to the folder, and says what."""
    kind = rng.random()
    if kind < 0.2 and shelf.can_withdraw():
        shelf.withdraw()
        return "versions withdrawn"
    if kind < 0.5:
        shelf.publish_broken()
        time.sleep(rng.random())
        shelf.publish()
        return "broken versions"
    shelf.tidy(keep=rng.choice((1, 2, 3)))
    shelf.publish()
    return "swaps"


def _wait(client: CaptionClient, version: int) -> str:
    """Waits until a version answers; returns what was wrong if it does not."""
    end = time.monotonic() + _SECONDS
    while (found := client.caption(b"four").version) != version:
        if time.monotonic() > end:
            return f"version {version} did not come, {found} answers"
        time.sleep(0.02)
    return ""


def _is_right(text: str, version: int) -> bool:
    return text == f"{WORDS[version % len(WORDS)]} image of 4 bytes"
