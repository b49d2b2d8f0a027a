"""Files that survive a crash: canonical JSON, digests, append-only JSON lines, write-beside-then-rename.

What the JSON means is left to `records` and `artifacts`.
"""

import contextlib
import datetime
import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import filelock
import pydantic

from benchkit.core.errors import BenchkitError, EnvironmentLacks
from benchkit.core.records import Record

_BLOCK_BYTES = 1 << 20


def canonical_json(value: object) -> str:
    """Return JSON with sorted keys, no spaces and no NaN: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: object) -> str:
    """Return the first 12 hex digits of the SHA-256 of `value` as canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:12]


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits, read in blocks."""
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            hasher.update(block)
    return hasher.hexdigest()


def utc_now() -> str:
    """Return the time in UTC as ISO 8601 with seconds, such as 2026-01-31T12:00:00Z."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextlib.contextmanager
def explained_full_disk(path: Path) -> Iterator[None]:
    """Turn a write that found no space below `path` into an error that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise EnvironmentLacks(
            f"no space left on the device that holds '{path}'; what was there before is unchanged",
            remedy="free some space or choose another folder, then run the same command again",
        ) from error


@contextlib.contextmanager
def explained_writes(path: Path) -> Iterator[None]:
    """Turn a failed write to `path` into an error that says what to do; for blocks that touch nothing else.

    Raises:
        EnvironmentLacks: The disk is full, or the place cannot be written to.
        BenchkitError: A file stands where a folder is needed.
    """
    try:
        with explained_full_disk(path):
            yield
    except IsADirectoryError as error:
        raise BenchkitError(f"'{path}' is a folder, and a file is to be written", remedy="name a file in it") from error
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        if isinstance(error, PermissionError):
            raise _not_writable(path, error) from error
        raise BenchkitError(
            f"cannot make '{path}': '{error.filename or path}' is a file", remedy="choose another output folder"
        ) from error
    except OSError as error:
        if error.errno == errno.EROFS:
            raise _not_writable(path, error) from error
        raise


def _not_writable(path: Path, error: OSError) -> EnvironmentLacks:
    return EnvironmentLacks(
        f"cannot write to '{path}': {error.strerror}", remedy="choose a folder that you may write to (-o or --output)"
    )


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock that goes with `path` (a file `NAME.lock` beside it) against other processes.

    The empty lock file stays when the lock is given back. Whoever deleted it could delete it under a process that has
    opened it and waits: that one would then hold a lock that the next process, which makes a new file, never meets.
    Deleting it by hand is safe while no benchkit runs.
    """
    with explained_writes(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path.with_name(path.name + ".lock"))
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def write_text(path: Path, text: str | Iterable[str]) -> None:
    """Write a file, given whole or in pieces, whole or not at all: beside it first, then renamed over it."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    with explained_writes(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines((text,) if isinstance(text, str) else text)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


@contextlib.contextmanager
def staged_folder(folder: Path) -> Iterator[Path]:
    """Give a folder to fill; it takes the place of `folder` only when the block ends well.

    An interrupted or failed block leaves `folder` as it was.
    """
    folder = folder.absolute()
    beside = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
    old = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.old")
    with explained_writes(folder):
        beside.mkdir(parents=True)
    try:
        with explained_full_disk(folder):
            yield beside
        with explained_writes(folder):
            if folder.exists():
                folder.rename(old)
            try:
                beside.rename(folder)
            except OSError:
                if old.exists():
                    old.rename(folder)
                raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def append_lines(path: Path, objects: Iterable[dict[str, Any]]) -> None:
    """Add JSON objects to a JSON-lines file, one a line, and force them to disk before returning.

    Writers take turns by a lock. A last line that an interrupted writer left without its line end
    is closed first, so that it cannot swallow the next object.
    """
    text = "".join(canonical_json(value) + "\n" for value in objects)
    with locked(path), explained_writes(path), path.open("ab+") as file:
        if file.tell() > 0:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                text = "\n" + text
        start = file.seek(0, os.SEEK_END)
        try:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            file.truncate(start)  # A full disk must not leave half a line behind.
            raise


def sealed(record: dict[str, Any]) -> dict[str, Any]:
    """Return the record's JSON object with `record_id` set to the digest of everything else."""
    body = {key: value for key, value in record.items() if key != "record_id"}
    return body | {"record_id": digest(body)}


def is_sealed(record: dict[str, Any]) -> bool:
    """Tell whether `record_id` still fits the rest: False when a record was edited or damaged."""
    return bool(sealed(record)["record_id"] == record.get("record_id"))


def read_records(path: Path) -> Iterator[Record]:
    """Yield the records of a JSON-lines file, each checked against its digest.

    Raises:
        BenchkitError: The file is missing, or a line is not a record; names file and line.
    """
    if not path.is_file():
        raise BenchkitError(f"no record file at '{path}'", remedy="give a records.jsonl that benchkit wrote")
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _record(line, f"{path}:{number}")


def _record(line: bytes, where: str) -> Record:
    try:
        record = Record.model_validate_json(line)
    except ValueError as error:
        detail = error.errors()[0]["msg"] if isinstance(error, pydantic.ValidationError) else str(error)
        raise BenchkitError(
            f"{where}: not a benchkit record: {detail}",
            remedy="delete the line, or restore the file from where it was made",
        ) from error
    if not (_is_sealed_line(line, record.record_id) or is_sealed(json.loads(line))):
        raise BenchkitError(
            f"{where}: record '{record.record_id}' was changed after it was written: its digest does not fit",
            remedy="restore the file from where it was made, or measure again",
        )
    return record


def _is_sealed_line(line: bytes, record_id: str) -> bool:
    """Tell by its bytes whether a line is as it was written; a line that was only reformatted needs the slow way.

    What we wrote is canonical JSON already, so that its digest needs no parsing: a hundred thousand records are read
    in seconds.
    """
    seal = f'"record_id":"{record_id}",'.encode()
    at = line.find(seal)
    if at < 0 or line.find(seal, at + 1) >= 0:
        return False
    hasher = hashlib.sha256(line[:at])
    hasher.update(line[at + len(seal) :].rstrip())
    return hasher.hexdigest()[:12] == record_id
