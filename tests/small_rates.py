"""Small rate files with the keywords that tell exposures apart."""

import zlib

import numpy as np

from webbmosaic.datasets import Dataset, Workspace

SIDE = 64


def write_rate(work, name, data=None, **given):
    """Write a rate file into its place in a work folder."""
    from stdatamodels.jwst.datamodels import ImageModel

    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if data is None:
        data = rng.normal(2, 1, (SIDE, SIDE))
    model = ImageModel(data=np.asarray(data, np.float32))
    model.err = np.ones_like(model.data)
    model.dq = np.zeros(model.data.shape, np.uint32) | given.get("dq", 0)
    # No imaging type: the many keywords that calibration needs may be left out then.
    model.meta.exposure.type = "NRC_FLAT"
    model.meta.instrument.name = "NIRCAM"
    model.meta.instrument.detector = "NRCB4"
    model.meta.instrument.filter = "F200W"
    model.meta.instrument.pupil = "CLEAR"
    start = 60000 + given.get("start", 0.0) / 86400
    model.meta.exposure.start_time = start
    model.meta.exposure.end_time = start + 100 / 86400
    model.meta.wcsinfo.ra_ref = 53.0 + given.get("dither", 0.0) / 3600
    model.meta.wcsinfo.dec_ref = -27.8
    model.meta.wcsinfo.crval1 = model.meta.wcsinfo.ra_ref
    model.meta.wcsinfo.crval2 = model.meta.wcsinfo.dec_ref
    model.meta.wcsinfo.cdelt1 = model.meta.wcsinfo.cdelt2 = 0.031 / 3600
    model.meta.wcsinfo.pc1_1, model.meta.wcsinfo.pc2_2 = -0.6, 0.6
    model.meta.wcsinfo.pc1_2 = model.meta.wcsinfo.pc2_1 = 0.8
    for text in given.get("history", ()):
        model.add_history_entry(text)
    path = Workspace(work).rate(Dataset.parse(name))
    path.parent.mkdir(parents=True)
    model.save(str(path))
    return path
