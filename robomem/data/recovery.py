"""What is done about a store that a crash or a bad disk left behind: cut, keep, set aside, and say so."""

from collections.abc import Mapping
from pathlib import Path

from robomem.data.durable import PARTIAL, make_folder, sync_folder, write_file
from robomem.data.episode import Field, first_difference
from robomem.data.episode_file import EpisodeFile
from robomem.data.layout import DAMAGED, EPISODES, LEDGER, ROOT, episode_files, write_root
from robomem.data.ledger import Ledger, LedgerWriter, Record, read_ledger
from robomem.errors import StoreError


def load_ledger(path: Path, heal: bool) -> Ledger:
    """The ledger of the store at `path`, every file of it present.

    Raises StoreError that names what is missing or damaged and how to repair it; with `heal`, a damaged last line is
    left to `resume`.
    """
    repair = f"EpisodeStore.repair('{path}') rebuilds it from the episodes"
    try:
        present = {file.name for file in episode_files(path)}
        ledger = read_ledger(path / LEDGER)
    except OSError as error:
        raise StoreError(f"{path / LEDGER} cannot be read ({error.strerror}); {repair}") from None
    tail = len(ledger.records) + 1
    if any(line != tail or not heal for line in ledger.damaged):
        raise StoreError(f"{path / LEDGER} line {ledger.damaged[0]} is damaged; {repair}")
    for record in ledger.records:
        if record.file not in present and not (path / EPISODES / record.file).exists():
            open_record(path, record)  # raises, with the repair
    return ledger


def open_record(path: Path, record: Record) -> EpisodeFile:
    """The file of an acknowledged episode. Raises StoreError when it is not what the ledger says."""
    file = EpisodeFile(path / EPISODES / record.file)
    if (file.size, file.directory_crc, file.length) != (record.size, record.directory_crc, record.length):
        raise file.damaged("it is not the file that was acknowledged")
    return file


def record_of(file: EpisodeFile) -> Record:
    """What the ledger says of `file`."""
    return Record(file.path.name, file.length, file.size, file.directory_crc, file.info)


def unfinished(path: Path, ledger: Ledger) -> list[str]:
    """In words, what a reader leaves out."""
    known = {record.file for record in ledger.records}
    left_out = [f"{path / LEDGER}: left out an unfinished last line of {ledger.torn} bytes"] if ledger.torn else []
    strays = [file for file in episode_files(path) if file.suffix == ".zip" and file.name not in known]
    return left_out + [f"{file}: left out, it is not acknowledged yet" for file in strays]


def resume(path: Path, ledger: Ledger) -> tuple[LedgerWriter, list[Record], list[str]]:
    """Cut what the last writer left unfinished and keep what it finished without saying so.

    Returns the ledger, ready for the next line, its records, and in words what was done.
    """
    said = []
    records = list(ledger.records)
    make_folder(path / EPISODES)  # an empty one is not kept by everything that copies folders
    sync_folder(path / EPISODES)  # a file may have its name only in memory, when its writer was killed
    if ledger.torn:
        said.append(f"{path / LEDGER}: cut a torn last line of {ledger.torn} bytes")
    writer = LedgerWriter(path / LEDGER, ledger.good)
    known = {record.file for record in records}
    for file in episode_files(path):
        if file.name.endswith(PARTIAL):
            file.unlink()
            said.append(f"{file}: cut, it was not finished")
        elif file.suffix == ".zip" and file.name not in known:
            fields = open_record(path, records[0]).fields if records else None
            found, what = _examine(file, fields)
            said.append(what)
            if found is not None:
                writer.append(found)
                records.append(found)
    return writer, records, said


def repair(path: Path) -> list[str]:
    """Rebuild the ledger of the store at `path` from its episode files; returns in words what was lost or kept.

    Damaged episodes are set aside, not deleted. The caller holds the writer's lock.
    """
    said = []
    if not (path / ROOT).exists():
        write_root(path, {})
        said.append(f"{path / ROOT}: written anew, the store's own notes are lost")
    try:
        before = read_ledger(path / LEDGER).records
    except (OSError, StoreError):
        before = ()
    records: list[Record] = []
    fields = None
    for file in episode_files(path):
        if file.suffix == ".zip":
            found, what = _examine(file, fields)
            if found is not None:
                records.append(found)
                fields = fields or EpisodeFile(file).fields
            if found not in before:
                said.append(what)
    kept = {record.file for record in records}
    there = {file.name.removesuffix(DAMAGED) for file in episode_files(path)}
    said += [f"{path / EPISODES / r.file}: lost, the file is gone" for r in before if r.file not in kept | there]
    sync_folder(path / EPISODES)
    write_file(path / LEDGER, b"".join(record.line() for record in records))
    return said


def _examine(file: Path, fields: Mapping[str, Field] | None) -> tuple[Record | None, str]:
    """The record of the episode at `file`, and what to say; a file that is damaged or has other fields is set aside."""
    try:
        episode = EpisodeFile(file)
        episode.verify()
        if fields is not None and (difference := first_difference(episode.fields, fields)):
            raise StoreError(f"{file}: {difference}")
    except StoreError as error:
        aside = file.with_name(file.name + DAMAGED)
        file.replace(aside)
        return None, f"{error}; set aside as {aside.name}"
    return record_of(episode), f"{file}: kept, it was whole but not in the ledger"
