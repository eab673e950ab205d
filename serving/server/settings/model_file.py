"""Edits a --model_config_file: the versions of one model and their labels; all else stays as it is.

The file belongs to people, so comments and layout outside of what changes are kept. It needs no
TensorFlow.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from google.protobuf import text_format

from imgcap.errors import ConfigError
from serving.server.settings.settings_pb2 import (
    ModelConfig,
    ModelServerConfig,
    ServableVersionPolicy,
)

# Comments, strings, braces and words of a text proto; what is between them is space.
_TOKEN = re.compile(
    r"""
    \#[^\n]* | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' | [{}<>\[\]:,;] | [^\s{}<>\[\]:,;"'\#]+
    """,
    re.VERBOSE,
)


class Listed(NamedTuple):
    """What a list of models says of one of them.

    Attributes:
        versions: the numbers that it names, rising; None if another policy chooses.
        labels: by label, the number of the version.
    """

    versions: tuple[int, ...] | None
    labels: Mapping[str, int]


def read_listed(text: str, model: str) -> Listed:
    """Reads what a list says of a model.

    Args:
        text: of a --model_config_file.
        model: name of the model.

    Raises:
        ConfigError: no text proto, or no such model in it.
    """
    config = _find_config(text, model)
    policy = config.model_version_policy
    named = policy.WhichOneof("policy_choice") == "specific"
    versions = tuple(sorted(set(policy.specific.versions))) if named else None
    return Listed(versions, dict(config.version_labels))


def base_path(text: str, model: str) -> str:
    """Reads where the versions of a model lie, for the server.

    Raises:
        ConfigError: no text proto, or no such model in it.
    """
    return _find_config(text, model).base_path


def write_listed(text: str, model: str, listed: Listed) -> str:
    """Changes what a list says of a model.

    Args:
        text: of a --model_config_file.
        model: name of the model.
        listed: what it should say; `versions` None leaves the policy as it is.

    Returns:
        The new text.

    Raises:
        ConfigError: no such model, or a layout in which it cannot be edited.
    """
    wanted = _parse(text)
    for config in wanted.model_config_list.config:
        if config.name == model:
            _change(config, listed)
    edited = _edit(text, model, listed)
    if _parse(edited) != wanted:
        raise ConfigError(
            f"the entry of model {model} is written in a way that is not edited here: give it one "
            "block config { … } with model_version_policy { … } and version_labels { … }"
        )
    return edited


def _parse(text: str) -> ModelServerConfig:
    try:
        # Fields that are not edited may be there and are not known here.
        return text_format.Parse(text, ModelServerConfig(), allow_unknown_field=True)
    except text_format.ParseError as error:
        raise ConfigError(f"no ModelServerConfig text proto ({error}): mend that line") from None


def _find_config(text: str, model: str) -> ModelConfig:
    configs = _parse(text).model_config_list.config
    for config in configs:
        if config.name == model:
            return config
    names = ", ".join(config.name for config in configs) or "none"
    raise ConfigError(f"no model {model} is listed, only {names}: give --model")


def _change(config: ModelConfig, listed: Listed) -> None:
    if listed.versions is not None:
        config.model_version_policy.CopyFrom(_policy(listed.versions))
    config.version_labels.clear()
    config.version_labels.update(listed.labels)


def _policy(versions: tuple[int, ...]) -> ServableVersionPolicy:
    return ServableVersionPolicy(specific=ServableVersionPolicy.Specific(versions=versions))


class _Block(NamedTuple):
    """A field with a message as its value: `name { body }`.

    Attributes:
        start: where its name begins in the text.
        body: where its body begins.
        body_end: where its body ends.
        end: where it ends.
    """

    start: int
    body: int
    body_end: int
    end: int


def _edit(text: str, model: str, listed: Listed) -> str:
    for block in _blocks(text, "model_config_list", 0, len(text)):
        for config in _blocks(text, "config", block.body, block.body_end):
            body = text[config.body : config.body_end]
            parsed = text_format.Parse(body, ModelConfig(), allow_unknown_field=True)
            if parsed.name == model:
                return text[: config.body] + _edit_body(body, listed) + text[config.body_end :]
    return text


def _edit_body(body: str, listed: Listed) -> str:
    """Edits the fields of a `config` block, from the last to the first, so that places stay."""
    policies = list(_blocks(body, "model_version_policy", 0, len(body)))
    labels = list(_blocks(body, "version_labels", 0, len(body)))
    ends = [block.end for block in [*policies, *labels]]
    new_labels = dict(listed.labels)
    edits: list[tuple[int, int, str]] = []
    if listed.versions is not None:
        start, end = (policies[0].start, policies[0].end) if policies else (-1, -1)
        edits.append((start, end, _render("model_version_policy", _policy(listed.versions))))
    for block in labels:
        entry = ModelConfig.VersionLabelsEntry()
        text_format.Parse(body[block.body : block.body_end], entry)
        if entry.key in new_labels:
            edits.append((block.start, block.end, _label(entry.key, new_labels.pop(entry.key))))
        else:
            edits.append((block.start, block.end, ""))
    edits += [(-1, -1, _label(key, value)) for key, value in new_labels.items()]
    return _apply(body, edits, max(ends, default=len(body.rstrip())))


def _apply(body: str, edits: list[tuple[int, int, str]], place: int) -> str:
    """Replaces parts of a block's body.

    Args:
        body: the text between the braces.
        edits: (start, end, new text) of each; a start of -1 inserts at `place`.
        place: where new fields are inserted.
    """
    line = re.search(r"\n([ \t]*)\S", body)
    indent = line[1] if line else ""
    inserted = [text for start, _, text in edits if start < 0]
    replaced = [(start, end, text) for start, end, text in edits if start >= 0]
    if inserted:
        replaced.append((place, place, "\n" + "\n".join(inserted)))
    for start, end, text in sorted(replaced, reverse=True):
        if not text:  # with the line that the field had for itself
            start = len(body[:start].rstrip(" \t"))
            start -= body[:start].endswith("\n")
        body = body[:start] + text.replace("\n", f"\n{indent}") + body[end:]
    return body


def _label(key: str, value: int) -> str:
    return _render("version_labels", ModelConfig.VersionLabelsEntry(key=key, value=value))


def _render(name: str, message: ServableVersionPolicy | ModelConfig.VersionLabelsEntry) -> str:
    body = text_format.MessageToString(message).strip().replace("\n", "\n  ")
    return f"{name} {{\n  {body}\n}}"


def _blocks(text: str, name: str, start: int, end: int) -> Iterator[_Block]:
    """Finds the fields of one name directly in a part of a text proto."""
    depth, found, opened = 0, -1, -1
    for token in _TOKEN.finditer(text, start, end):
        word = token[0]
        if word in ("{", "<"):
            depth += 1
            if depth == 1 and found >= 0:
                opened = token.end()
        elif word in ("}", ">"):
            depth -= 1
            if depth == 0 and opened >= 0:
                yield _Block(found, opened, token.start(), token.end())
                opened = -1
        if depth == 0 and word == name:
            found = token.start()
        elif opened < 0 and word != ":" and not word.startswith("#"):
            found = -1
