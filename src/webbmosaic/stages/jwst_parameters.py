"""Parameters of jwst's own steps: checked against what each step says it takes."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from webbmosaic.errors import UsageError
from webbmosaic.settings import JWST, KINDS, Settings

__all__ = ["check_parameters"]

#: What every step has, and what this package decides: where files go, what is run.
_OURS = (
    *("pre_hooks", "post_hooks", "output_file", "output_dir", "output_ext"),
    *("output_use_model", "output_use_index", "save_results", "search_output_file"),
    *("input_dir", "update_version", "suffix", "save_calibrated_ramp"),
)


#: Steps whose work is set in sections of our own.
_INSTEAD = {
    "tweakreg": "[alignment]",
    "skymatch": "[skymatch]",
    "outlier_detection": "[outliers]",
    "resample": "[resample]",
}


def check_parameters(settings: Settings, given: Mapping[str, tuple[str, ...]]) -> None:
    """
    Check the parameters that the user gives to steps of jwst.

    Parameters
    ----------
    settings : Settings
        Not narrowed.
    given : mapping
        Step -> the stages that run it.

    Raises
    ------
    UsageError
        If a step is not run here, has no such parameter, or refuses a value.
    """
    for step, stages in given.items():
        where = f"[jwst.{step}]"
        if step in _INSTEAD and not stages:
            msg = f"{where}: set this in {_INSTEAD[step]} instead"
            raise UsageError(msg)
        classes = _step_classes()
        if step not in classes or not stages:
            near = difflib.get_close_matches(step, classes, n=1)
            hint = f"; did you mean {near[0]}?" if near and near[0] != step else ""
            msg = f"{where}: no stage runs a step of jwst of this name{hint}"
            raise UsageError(msg)
        narrowed = settings.narrowed[JWST + step]
        for values in _all_values(narrowed):
            _check(classes[step], values, where)


def _all_values(narrowed: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    kinds = (narrowed.get(kind, {}).values() for kind in KINDS)
    return [narrowed.get("all", {}), *(values for some in kinds for values in some)]


def _step_classes() -> dict[str, Any]:
    from jwst.pipeline import Detector1Pipeline, Image2Pipeline, Image3Pipeline

    pipelines = (Detector1Pipeline, Image2Pipeline, Image3Pipeline)
    return {k: v for pipeline in pipelines for k, v in pipeline.step_defs.items()}


def _check(step: Any, values: Mapping[str, Any], where: str) -> None:
    from stpipe import config_parser

    spec = step.load_spec_file()
    known = [key for key in spec if key not in _OURS]
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = (
                f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"
            )
            msg = f"{where}: {step.__name__} has no parameter '{key}'; {hint}"
            raise UsageError(msg)
    config = config_parser.ConfigObj(
        {key: _as_config(value) for key, value in values.items()}
    )
    try:
        config_parser.validate(config, spec)
    except (config_parser.ValidationError, ValueError, TypeError) as error:
        said = " ".join(str(error).split())
        msg = f"{where}: {step.__name__} of jwst refuses this: {said}"
        raise UsageError(msg) from error


def _as_config(value: Any) -> Any:
    """Write a value as a configuration file of jwst would have it."""
    if isinstance(value, list | tuple):
        return [str(v) for v in value]
    return str(value)
