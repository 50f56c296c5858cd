"""Where sources are, which are the same, and how images move to agree.

`find_stars` centres sources; `link` finds how far exposures, visits and a catalogue are
apart; `solve` solves for all of them at once.
"""

from webbmosaic.science.astrometry.images import Catalogue, Image
from webbmosaic.science.astrometry.linking import Linked, Search, link
from webbmosaic.science.astrometry.solving import Solution, solve
from webbmosaic.science.astrometry.stars import find_stars

__all__ = [
    "Catalogue",
    "Image",
    "Linked",
    "Search",
    "Solution",
    "find_stars",
    "link",
    "solve",
]
