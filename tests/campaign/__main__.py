"""`python -m tests.campaign NAME...`: runs the long forms and prints the figures of each."""

import importlib
import sys
import time

from imgcap.cli import command
from imgcap.errors import ConfigError
from imgcap.host.progress import clock
from tests.campaign.config import MODULES, CampaignConfig
from tests.campaign.figures import all_held, format_table


def run(config: CampaignConfig, names: list[str]) -> int:
    """Runs campaigns one after the other.

    Args:
        config: how long, and by which chance.
        names: of the campaigns, each with a slash and one of its rows if the others are left out;
            empty is all.

    Returns:
        0 if all held, else 1.
    """
    unknown = [name for name in names if name.partition("/")[0] not in MODULES]
    if unknown:
        raise ConfigError(f"no campaign is called {unknown[0]}: choose of {', '.join(MODULES)}")
    held = True
    for name in names or MODULES:
        campaign_name, _, row = name.partition("/")
        campaign = importlib.import_module(MODULES[campaign_name])
        size, started = config.size or campaign.SIZE, time.monotonic()
        rows = campaign.run(size, config.seed, *([row] if row else []))
        took = clock(time.monotonic() - started)
        print(f"{name} --size={size} --seed={config.seed}: {took}\n{format_table(rows)}\n")
        sys.stdout.flush()
        held = held and all_held(rows)
    return 0 if held else 1


COMMAND = command.Command(
    name="python -m tests.campaign",
    summary=f"Tries to break commands, server and page at random, and counts what held. Campaigns: "
    f"{', '.join(MODULES)}; without a name, all of them. Exit status: 0 all held, 1 something did "
    "not.",
    sections=(CampaignConfig,),
    run=run,
    positional="[NAME[/ROW]...]",
)

if __name__ == "__main__":
    sys.exit(command.main(COMMAND))
