"""Apache Beam as the commands use it: pipelines for the runner that a flag names, errors in a line.

This module can be imported without Beam; its functions need the extra `beam`.
"""

import contextlib
import importlib
import io
import logging
import multiprocessing
import re
import threading
from collections.abc import Iterator, Sequence
from multiprocessing import forkserver
from typing import Any

from imgcap.errors import ConfigError, ImgcapError

DIRECT_RUNNER = "DirectRunner"
"""The runner that needs nothing but Python: in this process unless its options say otherwise."""

INSTALL = "pip install 'imgcap-tf[beam]'"
"""The command that installs Beam."""

_STEP = re.compile(r" \[while running '[^\n]*'\]")
"""The name of a pipeline's step, which Beam adds to an exception's text."""

_EXCEPTION = re.compile(r"^([A-Za-z_][\w.]*): ", re.MULTILINE)
"""How a line begins that names an exception, in a traceback; lines of the code are indented."""


class PipelineFailed(ImgcapError):
    """A pipeline that failed for a reason that is no error of imgcap's own."""


def import_beam(purpose: str) -> None:
    """Imports Apache Beam without the notes that it logs meanwhile.

    Args:
        purpose: what needs it, such as a flag or a command; begins the error.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        with _silent_logs():
            import apache_beam  # noqa: F401
    except ImportError:
        raise ConfigError(f"{purpose} needs Apache Beam: {INSTALL}") from None


@contextlib.contextmanager
def _silent_logs() -> Iterator[None]:
    """Hides what is logged in this process while the context lasts.

    Beam logs notes for its developers, and the traceback of each error that is raised anyway.
    """
    root, hook = logging.getLogger(), threading.excepthook
    handlers, disabled = list(root.handlers), root.manager.disable
    logging.disable(logging.CRITICAL)
    # Threads of Beam tell each on its own that a worker has died.
    threading.excepthook = lambda _: None
    try:
        yield
    finally:
        threading.excepthook = hook
        logging.disable(disabled)
        # A note that is not shown gives the root logger a handler all the same.
        root.handlers[:] = handlers


def preload_workers(*modules: str) -> None:
    """Starts to import what the direct runner's worker processes need, in the one they fork from.

    It is done beside what this process does meanwhile.

    Args:
        modules: that the workers will import, apart from Beam.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["imgcap.host.quiet_beam", *modules])
    forkserver.ensure_running()


@contextlib.contextmanager
def open_pipeline(runner: str, options: Sequence[str]) -> Iterator[Any]:
    """Makes a pipeline, and runs it to its end when the context ends.

    Args:
        runner: name of a runner of Beam, such as DirectRunner or FlinkRunner.
        options: the runner's own options, each as `--name=value`.

    Yields:
        An `apache_beam.Pipeline` to add steps to.

    Raises:
        ConfigError: Beam is not installed, has no such runner, or the runner no such option.
        ImgcapError: a step raised it, in whatever process that was.
        PipelineFailed: anything else went wrong while the pipeline ran.
    """
    import_beam(f"--runner={runner}")
    from apache_beam import Pipeline

    made, parsed = _make_runner(runner, options)
    try:
        pipeline = Pipeline(runner=made, options=parsed)
    except ValueError as error:  # such as an option that the runner cannot do without
        raise ConfigError(f"--runner={runner}: {error}") from None
    yield pipeline
    try:
        with _silent_logs():
            pipeline.run().wait_until_finish()
    except Exception as error:
        if _STEP.sub("", str(error)).strip().endswith(KeyboardInterrupt.__name__):
            raise KeyboardInterrupt from None  # It met a step, and Beam made another error of it.
        kind = type(error)
        module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
        raise find_error(f"{module}{kind.__qualname__}: {error}", runner) from None


def find_error(text: str, runner: str = DIRECT_RUNNER) -> ImgcapError:
    """Makes the error that a step raised from the text that a runner gives of it.

    Args:
        text: the runner's exception by class and text, in which a worker's traceback may be.
        runner: its name, for an error that is none of imgcap's own.

    Returns:
        The very error, if its class is one of `ImgcapError`'s; else one that quotes the last
        exception.
    """
    text = _STEP.sub("", text).strip()
    named = list(_EXCEPTION.finditer(text))
    for match in reversed(named):
        found = _find_class(match[1])
        if found:
            return found(text[match.end() :])
    errors = [match for match in named if match[1].endswith(("Error", "Exception"))]
    reason = text[errors[-1].start() :] if errors else text
    return PipelineFailed(f"--runner={runner}: the pipeline failed ({' '.join(reason.split())})")


def _find_class(name: str) -> type[ImgcapError] | None:
    """The class of a dotted name, if it is one of the project's errors."""
    module, _, attribute = name.rpartition(".")
    if module.partition(".")[0] not in ("imgcap", "export", "serving"):
        return None
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError):
        return None
    return found if isinstance(found, type) and issubclass(found, ImgcapError) else None


def _make_runner(name: str, options: Sequence[str]) -> tuple[Any, Any]:
    """Makes a runner and its parsed options.

    Raises:
        ConfigError: one of them is unknown.
    """
    from apache_beam.runners.runner import create_runner

    for option in options:
        if not option.startswith("--"):
            raise ConfigError(
                f"{option!r} is no option of --runner={name}: give --name=value after --"
            )
    if name == DIRECT_RUNNER:
        return _make_direct_runner(options)
    try:
        runner = create_runner(name)
    except (ValueError, ImportError, AttributeError) as error:
        raise ConfigError(f"--runner={name}: {error}") from None
    return runner, _parse_options(name, options)


def _make_direct_runner(options: Sequence[str]) -> tuple[Any, Any]:
    """The runner of this machine in Python.

    By its name Beam would first look for Prism, a program that it downloads.
    """
    from apache_beam.options.pipeline_options import DirectOptions
    from apache_beam.portability.api import beam_provision_api_pb2
    from apache_beam.runners.portability.fn_api_runner.fn_runner import (
        ExtendedProvisionInfo,
        FnApiRunner,
    )
    from apache_beam.runners.portability.portable_runner import JobServiceHandle

    from imgcap.host.forked_workers import ForkedEnvironment

    # Processes of workers would log each traceback, which the error of this process tells anyway.
    parsed = _parse_options(DIRECT_RUNNER, ["--default_sdk_harness_log_level=CRITICAL", *options])
    with _silent_logs():
        known = parsed.get_all_options()
        unknown = set(parsed.get_all_options(retain_unknown_options=True)) - set(known)
    if unknown:
        raise ConfigError(
            f"--runner={DIRECT_RUNNER} has no option --{min(unknown)}: its options are "
            "--direct_num_workers and --direct_running_mode (in_memory, multi_threading, "
            "multi_processing)"
        )
    encoded = JobServiceHandle.encode_pipeline_options(known)
    provision = beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)
    environment = None
    direct = parsed.view_as(DirectOptions)
    if direct.direct_running_mode == "multi_processing":
        # By that name the runner would start Beam's own program, which prints notes.
        direct.direct_running_mode = "in_memory"
        environment = ForkedEnvironment()
    return FnApiRunner(environment, provision_info=ExtendedProvisionInfo(provision)), parsed


def _parse_options(name: str, options: Sequence[str]) -> Any:
    """Parses a runner's options; ConfigError if a value is wrong."""
    from apache_beam.options.pipeline_options import PipelineOptions

    printed = io.StringIO()
    try:
        with _silent_logs(), contextlib.redirect_stderr(printed):
            parsed = PipelineOptions(list(options))
            parsed.get_all_options()
    except SystemExit:  # as argparse ends a program
        reason = printed.getvalue().strip().rpartition("error: ")[2] or "wrong options"
        raise ConfigError(f"--runner={name}: {reason}") from None
    return parsed
