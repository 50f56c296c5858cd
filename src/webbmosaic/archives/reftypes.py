"""Which kinds of reference file the stages ask for, read from the jwst pipelines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

__all__ = ["ReferenceType", "keyword_of_parkey", "reference_types"]

#: Kinds whose steps fail on ``N/A`` in NIRCam, MIRI and NIRISS imaging.
_NEVER_NA = ("gain", "readnoise", "distortion", "apcorr", "abvegaoffset")


@dataclass(frozen=True)
class ReferenceType:
    """
    One kind of reference file.

    Attributes
    ----------
    name : str
        As CRDS calls it: ``flat``, ``pars-jumpstep``.
    stage : int
        The first stage (1, 2 or 3) that reads it.
    required : bool
        Whether a step that runs by default asks for it; others are optional steps' and
        the ``pars-*`` that tune steps, which a context need not have.
    fails_without : bool
        Whether that step fails when the rules say ``N/A``.
    """

    name: str
    stage: int
    required: bool
    fails_without: bool


@cache
def reference_types() -> Mapping[str, ReferenceType]:
    """
    Collect what all steps of stages 1 to 3 may ask for, steps off by default included.

    Returns
    -------
    types : mapping of name to ReferenceType
        The flat belongs to stage 1, which divides by it before stripes are fitted.
    """
    from jwst.pipeline import Detector1Pipeline, Image2Pipeline, Image3Pipeline

    found: dict[str, ReferenceType] = {}
    pipelines = (Detector1Pipeline, Image2Pipeline, Image3Pipeline)
    for stage, pipeline in enumerate(pipelines, start=1):
        steps = pipeline()
        _add(found, pipeline.get_config_reftype(), stage)
        for name, step in pipeline.step_defs.items():
            _add(found, step.get_config_reftype(), stage)
            for kind in step.reference_file_types:
                _add(found, kind, stage, required=not getattr(steps, name).skip)
    found["flat"] = ReferenceType("flat", 1, required=True, fails_without=False)
    return MappingProxyType(found)


def _add(
    found: dict[str, ReferenceType], name: str, stage: int, *, required: bool = False
) -> None:
    earlier = found.get(name)
    found[name] = ReferenceType(
        name,
        stage=earlier.stage if earlier else stage,
        required=required or bool(earlier and earlier.required),
        fails_without=name in _NEVER_NA,
    )


@cache
def keyword_of_parkey() -> Mapping[str, str]:
    """
    Translate the names that CRDS rules match on to FITS keywords.

    Returns
    -------
    keywords : mapping
        ``META.INSTRUMENT.FILTER`` to ``FILTER``, and so on, from the schema of the JWST
        data models.
    """
    from stdatamodels.jwst.datamodels import JwstDataModel
    from stdatamodels.schema import walk_schema

    keywords: dict[str, str] = {}

    def visit(part: Mapping[str, object], path: list[str], *_: object) -> bool:
        if "fits_keyword" in part:
            keywords.setdefault(".".join(path).upper(), str(part["fits_keyword"]))
        return False

    walk_schema(JwstDataModel().schema, visit)
    return MappingProxyType(keywords)
