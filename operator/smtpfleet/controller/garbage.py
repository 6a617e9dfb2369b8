"""How often Python looks for garbage that refers to itself; all other memory is freed at once.

With 1,000 relays, looking through everything takes a fifth of a second in which nothing else is done, and Python would
do it every five seconds: what is known of relays makes way for what is newer, which counts as growth.
"""

import gc
from typing import Final

YOUNG: Final = 10_000
"""So many new objects are worth a look at them (Python: 700). Probes that are under way are not looked at thrice."""


def collect_seldom() -> None:
    """Leave out for ever what exists now, that is code, and look at the rest less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
