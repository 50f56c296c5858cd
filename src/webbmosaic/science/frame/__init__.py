"""
One model of a frame and its uses: stripes, wisps, angles of tilted lines.

Smooth light, readout noise in the order of time, columns and tilted lines are solved
together; each part's size is learnt from the frame.
"""

from webbmosaic.science.frame.angles import find_angles
from webbmosaic.science.frame.fit import StripeOptions, angle_name
from webbmosaic.science.frame.readout import Readout, make_readout
from webbmosaic.science.frame.stripes import MIRI_REGIONS, StripeFit, fit_stripes

__all__ = [
    "MIRI_REGIONS",
    "Readout",
    "StripeFit",
    "StripeOptions",
    "angle_name",
    "find_angles",
    "fit_stripes",
    "make_readout",
]
