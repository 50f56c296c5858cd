"""Calling the jwst pipeline: always the same way, its failures told in a sentence."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from webbmosaic.errors import PipelineError, ReferenceFileError

__all__ = ["call", "context_or_none", "with_users"]


def call(step: type[Any], data: Any, *, who: str, **parameters: Any) -> Any:
    """
    Run a pipeline or step of jwst.

    Parameters
    ----------
    step : type
        A pipeline or step class. Parameter references of CRDS apply to it, and what is
        given here wins over them.
    data : object
        What it reads: a model, a library of models or a path.
    who : str
        The dataset or group, for the sentence in an error.
    **parameters
        Of the step.

    Returns
    -------
    result : object
        What the step returns.

    Raises
    ------
    ReferenceFileError
        If CRDS has no reference file that the step needs.
    PipelineError
        If the step raises.
    """
    from crds import CrdsError

    try:
        return step.call(data, configure_log=False, **parameters)
    except CrdsError as error:
        msg = f"{who}: {step.__name__} found no reference file: {_first_line(error)}"
        raise ReferenceFileError(msg) from error
    except SystemExit as error:  # how crds gives up without a cache and a server
        msg = f"{who}: {step.__name__} found no references. Try: set CRDS_PATH"
        raise ReferenceFileError(f"{msg} and CRDS_CONTEXT") from error
    except OSError:
        raise  # disks and files have sentences of their own
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError,
            ValueError) as error:  # fmt: skip
        msg = f"{who}: {step.__name__} of jwst stopped: {_first_line(error)}"
        raise PipelineError(msg) from error


def with_users(
    steps: Mapping[str, Mapping[str, Any]], given: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """
    Join the parameters that we set for steps with those that the user gives.

    Parameters
    ----------
    steps : mapping of str to mapping
        Step -> parameters, of all steps that are run.
    given : mapping of str to mapping
        ``settings.jwst``; the user's win. Those of other steps are left out.

    Returns
    -------
    steps : dict
    """
    return {step: {**ours, **given.get(step, {})} for step, ours in steps.items()}


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def context_or_none() -> str:
    """
    Give the CRDS context that is pinned, or do without CRDS.

    Returns
    -------
    context : str
        Empty where none is pinned: steps then run with their own defaults, without any
        parameter reference.
    """
    context = os.environ.get("CRDS_CONTEXT", "")
    if not context:
        os.environ["STPIPE_DISABLE_CRDS_STEPPARS"] = "true"
    return context
