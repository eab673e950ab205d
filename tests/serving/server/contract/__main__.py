"""`python -m tests.serving.server.contract [--server=PATH]`: both servers, question by question.

Runs contract, hostile requests, rollout, isolation of bad images and hot swap against the embedded
server, and against a tensorflow_model_server if one is given, and prints a line for each question:
what it is, whether it holds on the embedded server, and whether on the real one.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from imgcap.cli import command
from imgcap.config import Section, setting
from imgcap.errors import ConfigError, ServingError
from tests.support.paths import ROOT
from tests.support.servers import BINARY, KINDS

TESTS = {
    "contract": ("tests/serving/server/contract", "tests/serving/server/test_serving_contract.py"),
    "rollout": ("tests/serving/cli/test_rollout.py", "tests/serving/deployment/test_settings.py"),
    "attack": ("tests/campaign/server/test_campaigns.py",),
}
"""The files to run, by subject."""

SUBJECTS = {
    "hot swap": ("hot_swap", "new_version", "corrupt_version"),
    "isolation": ("bad_image", "batch"),
    "hostile requests": ("hostile", "attack", "changed_requests"),
    "rollout": ("rollout", "label", "reload", "changed_file"),
}
"""Words of a question's name by which it belongs to a subject other than its file's."""

_WORDS = {"passed": "holds", "failed": "FAILS", "skipped": "not run"}


@dataclass(frozen=True)
class ContractConfig(Section):
    """Which real server is asked."""

    server: str = setting("", f"A {BINARY}; empty is the one on PATH, if there is one.", path=True)


def read_outcomes(report: Path) -> dict[str, dict[str, str]]:
    """Reads what held from the report that pytest writes with --junitxml.

    Returns:
        By question and kind of server: "passed", "failed" or "skipped".
    """
    found: dict[str, dict[str, str]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        question, kind = split_name(case.attrib["name"])
        tags = {child.tag for child in case}
        outcome = "failed" if tags & {"failure", "error"} else "passed"
        if kind:
            question = f"{case.attrib['classname']}::{question}"  # two files may ask by one name
            found.setdefault(question, {})[kind] = "skipped" if "skipped" in tags else outcome
    return found


def split_name(name: str) -> tuple[str, str]:
    """Takes the kind of server out of a test's name.

    Args:
        name: such as `test_status[embedded-1]`.

    Returns:
        The rest, and the kind; empty if the test is of no server in particular.
    """
    match = re.search(rf"(?<=[\[-])({'|'.join(KINDS)})(?=[\]-])", name)
    if match is None:
        return name, ""
    rest = name[: match.start()] + name[match.end() :]
    return rest.replace("[-", "[").replace("-]", "]").replace("[]", ""), match[1]


def subject_of(question: str) -> str:
    """The subject that a question belongs to."""
    for subject, words in SUBJECTS.items():
        if any(word in question for word in words):
            return subject
    return "contract"


def format_lines(found: dict[str, dict[str, str]]) -> str:
    """Writes a line for each question, by subject, and the sums."""
    rows = sorted((subject_of(question), question) for question in found)
    width = max((len(_short(question)) for _, question in rows), default=0)
    lines, last = [], ""
    for subject, question in rows:
        if subject != last:
            lines += ["", f"{subject:<{width}}  {' | '.join(KINDS)}"]
            last = subject
        cells = [_WORDS[found[question].get(kind, "skipped")] for kind in KINDS]
        lines.append(f"{_short(question):<{width}}  {cells[0]:<8} | {cells[1]}")
    lines.append("")
    for kind in KINDS:
        outcomes = [_WORDS[each.get(kind, "skipped")] for each in found.values()]
        counted = ", ".join(f"{word} {outcomes.count(word)}" for word in _WORDS.values())
        lines.append(f"{kind}: {counted}")
    return "\n".join(lines[1:])


def _short(question: str) -> str:
    return question.rpartition("::")[2].removeprefix("test_")


def run(config: ContractConfig, _arguments: Sequence[str]) -> int:
    """Asks both servers.

    Raises:
        ConfigError: the server is no program.
    """
    if config.server and not os.access(config.server, os.X_OK):
        raise ConfigError(f"--server={config.server} is no program: give a {BINARY}")
    files = [name for names in TESTS.values() for name in names]
    with tempfile.TemporaryDirectory(prefix="imgcap-contract-") as folder:
        environment, report = dict(os.environ), Path(folder, "report.xml")
        if config.server:
            Path(folder, BINARY).symlink_to(Path(config.server).resolve())
            environment["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
        # A process of its own, since pytest must see every module before others import it.
        pytest = [sys.executable, "-m", "pytest", "-q", "-k", " or ".join(KINDS)]
        subprocess.run(
            [*pytest, f"--junitxml={report}", *files], cwd=ROOT, env=environment, check=False
        )
        if not report.exists():
            raise ServingError("pytest has written no report: see its message above")
        found = read_outcomes(report)
    print(f"\n{format_lines(found)}")
    return int(any("failed" in each.values() for each in found.values()))


COMMAND = command.Command(
    name="python -m tests.serving.server.contract",
    summary="Asks the embedded server and the real one the same, and prints where they differ.",
    sections=(ContractConfig,),
    run=run,
)

if __name__ == "__main__":
    sys.exit(command.main(COMMAND))
