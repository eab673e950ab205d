"""Where a raw data set lies: as flags say, or as its folder looks."""

from imgcap.config import PrepareConfig
from imgcap.config.prepare import TABLES
from imgcap.data.raw.example import Source
from imgcap.data.raw.images import find_root
from imgcap.data.raw.reading.nearest import explain
from imgcap.data.raw.reading.readers import READERS, recognise
from imgcap.errors import ConfigError, DataError
from imgcap.files.locations import find_files, is_file, is_folder, is_remote, join
from imgcap.files.names import find_path


def find_source(config: PrepareConfig) -> Source:
    """Finds the data set that a command line names.

    Args:
        config: validated settings.

    Returns:
        Where its parts lie.

    Raises:
        ConfigError: a flag is given that the data set's reader does not read.
        DataError: parts are missing, or in no known layout; names what is missing.
    """
    if config.raw_dir and not is_folder(config.raw_dir):
        raise DataError(
            f"{config.raw_dir} is no folder: give --raw_dir the folder that holds Images/ and "
            "captions.txt"
        )
    captions = _find_captions(config)
    source = _source_of_files(config, captions) if captions else _source_of_folder(config)
    config.check_reader(source.dataset)
    source = source._replace(
        image_roots=_find_images(config) or source.image_roots,
        split_lists=_find_lists(config) or source.split_lists,
        image_column=config.image_column or source.image_column,
        caption_column=config.caption_column or source.caption_column,
        split_column=config.split_column or source.split_column,
    )
    if not source.image_roots:
        raise DataError(explain(config.raw_dir, READERS, source.dataset))
    # Without final slashes: paths of files below are told by the length of their folder's.
    return source._replace(
        image_roots=tuple(root.rstrip("/") or "/" for root in source.image_roots)
    )


def _source_of_folder(config: PrepareConfig) -> Source:
    """Finds the layout of `raw_dir`: the one that is asked for, or the only one that fits.

    A table beside a published data set, such as a list of licences, is not read.
    """
    failures: list[DataError] = []
    chosen: dict[str, Source] = {}
    for names in _orders(config.dataset):
        for name in names:
            try:
                source = READERS[name].find(config.raw_dir)
            except DataError as failure:
                failures.append(failure)
            else:
                chosen.update({name: source} if source else {})
        if chosen:
            break
    if len(chosen) > 1:
        files = (f"{READERS[name].TITLE} ({chosen[name].captions_files[0]})" for name in chosen)
        raise DataError(
            f"{config.raw_dir} holds {' and '.join(files)}: choose by --dataset="
            f"{' or --dataset='.join(chosen)}"
        )
    if chosen:
        return next(iter(chosen.values()))
    raise failures[0] if failures else DataError(explain(config.raw_dir, READERS, config.dataset))


def _orders(dataset: str) -> list[list[str]]:
    """The readers that are asked: a group is only if those before it found nothing."""
    if dataset != "auto":
        return [[dataset]]
    return [[name for name in READERS if name not in TABLES], list(TABLES)]


def _source_of_files(config: PrepareConfig, captions: tuple[str, ...]) -> Source:
    """Makes the source of captions files that are given; what else there is, is in `raw_dir`."""
    dataset = config.dataset if config.dataset != "auto" else recognise(captions[0])
    if not config.raw_dir:
        return Source(dataset, captions, ())
    try:
        found = READERS[dataset].find(config.raw_dir)
    except DataError:  # Of captions files that are not read.
        found = None
    if found is None:
        root = find_root(config.raw_dir)
        return Source(dataset, captions, (root,) if root else ())
    return Source(dataset, captions, found.image_roots, found.split_lists)


def _find_captions(config: PrepareConfig) -> tuple[str, ...]:
    """The files that `captions` names, in its order; those of one pattern are sorted."""
    files: list[str] = []
    for given in _pieces(config, "captions"):
        places = _places(config, given)
        found = next((found for place in places if (found := _files_at(place))), None)
        if found is None:
            raise _missing("captions", given, places)
        files += [file for file in found if file not in files]
    return tuple(files)


def _files_at(place: str) -> list[str]:
    """The file of that very name, or those that it matches as a pattern."""
    return [place] if is_file(place) else list(find_files(place))


def _find_images(config: PrepareConfig) -> tuple[str, ...]:
    """The folders that `images` names, each once."""
    folders: dict[str, None] = {}
    for given in _pieces(config, "images"):
        places = _places(config, given)
        found = next(filter(is_folder, places), None)
        if found is None:
            raise _missing("images", given, places)
        folders[found] = None
    return tuple(folders)


def _find_lists(config: PrepareConfig) -> dict[str, str]:
    """Split to the list that is given for it."""
    lists = {}
    for split in ("train", "dev", "test"):
        given = getattr(config, f"{split}_list")
        if given:
            places = _places(config, given)
            found = next(filter(is_file, places), None)
            if found is None:
                raise _missing(f"{split}_list", given, places)
            lists[split] = found
    return lists


def _pieces(config: PrepareConfig, flag: str) -> list[str]:
    """The locations of a flag; one whose name holds a comma, or several."""
    value = getattr(config, flag)
    if any(is_file(place) or is_folder(place) for place in _places(config, value) if value):
        return [value]
    pieces = [piece.strip() for piece in value.split(",")]
    if value and not all(pieces):
        raise ConfigError(f"--{flag}={value} has an empty part: separate locations by one comma")
    return pieces if value else []


def _places(config: PrepareConfig, given: str) -> list[str]:
    """Where a location may be: in `raw_dir` first, then in the working folder."""
    if not config.raw_dir or is_remote(given) or given.startswith("/"):
        return [given]
    below = join(config.raw_dir, given)
    return [below if is_remote(below) else find_path(below), given]


def _missing(flag: str, given: str, places: list[str]) -> DataError:
    return DataError(f"--{flag}={given} is missing: there is no {' and no '.join(places)}")
