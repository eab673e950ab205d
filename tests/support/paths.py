"""Where tests find the checkout and the optional real data."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("IMGCAP_SHARED", ROOT.parent / "shared"))
