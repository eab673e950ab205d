"""Settings of the campaigns, and where each campaign stands."""

from dataclasses import dataclass

from imgcap.config import Section, setting

MODULES = {
    "kill": "tests.campaign.commands.kill",
    "disk": "tests.campaign.commands.disk",
    "corrupt": "tests.campaign.commands.corrupt",
    "twice": "tests.campaign.commands.twice",
    "page": "tests.campaign.page.sessions",
    "requests": "tests.campaign.server.requests",
    "hot_swap": "tests.campaign.server.hot_swap",
    "attack": "tests.campaign.server.attack",
    "soak": "tests.campaign.server.soak",
}
"""The module of each campaign: `SIZE` is that of its long form, and `run(size, seed)` makes its
rows.
"""


@dataclass(frozen=True)
class CampaignConfig(Section):
    """How long, and by which chance."""

    size: int = setting(
        0,
        "Attempts of each kind (seconds for 'soak'); 0 is the long form's own number.",
        minimum=0,
    )
    seed: int = setting(0, "By which all that is random is drawn.", minimum=0)
