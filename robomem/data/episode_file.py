"""One episode as one file: a zarr 3 group in an uncompressed zip, so `zarr.storage.ZipStore` reads it as it is.

Every chunk ends in a crc32c, every metadata file has the zip's crc32, and the zip's directory is covered by a checksum
in the ledger. Writing goes through zarr; reading decodes chunks directly, because zarr takes about 1 ms a read.
"""

import io
import json
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from google_crc32c import value as crc32c
from numcodecs.zstd import decompress
from numpy.typing import NDArray

from robomem.errors import StoreError

FIELD_NAME = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")
DTYPES = ("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64")
ZSTD_LEVEL = 3
TARGET_CHUNK = 96 * 1024  # bytes: small enough to decode in 0.1 ms, large enough that repeated images cost nothing
MIN_CHUNK_TICKS = 4  # two images of a camera at half the loop's rate
MAX_CHUNK = 256 * 1024 * 1024  # bytes that one chunk may unpack to
MAX_METADATA = 4 * 1024 * 1024  # bytes that one metadata file may take
TEXTS = "texts"  # attribute of an array of text: the strings that its numbers stand for
CODECS = ["bytes", "zstd", "crc32c"]


@dataclass(frozen=True)
class Episode:
    """What one episode holds: `arrays` name -> (T, ...), all of one length, and `info`, plain JSON values."""

    arrays: Mapping[str, NDArray[Any]]
    info: Mapping[str, Any]

    def __post_init__(self) -> None:
        lengths = {name: len(array) if array.ndim else None for name, array in self.arrays.items()}
        if len(set(lengths.values())) != 1 or not all(lengths.values()):
            raise ValueError(f"an episode's arrays need one common length of at least 1, got {lengths}")
        for name, array in self.arrays.items():
            if not FIELD_NAME.fullmatch(name):
                raise ValueError(f"field '{name}': a name is letters, digits, _ and -, in parts between /")
            if any(other.startswith(name + "/") for other in self.arrays):
                raise ValueError(f"field '{name}' is also the folder of another field")
            if array.dtype.kind != "U" and array.dtype.name not in DTYPES:
                raise ValueError(f"field '{name}' is {array.dtype}, expected text or one of: {', '.join(DTYPES)}")
        try:
            json.dumps(dict(self.info), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"info must be plain JSON values: {error}") from None

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))


class Field(NamedTuple):
    """What one field holds per tick: `dtype` ("str" for text) and `shape` without the time axis."""

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"


def encode(episode: Episode) -> bytes:
    """The episode file's bytes; the same episode gives the same bytes."""
    import zarr
    from zarr.codecs import Crc32cCodec, ZstdCodec
    from zarr.storage import MemoryStore

    store = MemoryStore()
    with zarr.config.set({"array.write_empty_chunks": True}):
        group = zarr.create_group(store, zarr_format=3, attributes={"info": dict(episode.info)})
        for name, array in sorted(episode.arrays.items()):
            attributes: dict[str, Any] = {}
            if array.dtype.kind == "U":
                texts, array = np.unique(array, return_inverse=True)
                array = array.astype(np.uint8 if len(texts) <= 256 else np.uint32)
                attributes = {TEXTS: texts.tolist()}
            group.create_array(
                name,
                data=np.ascontiguousarray(array),
                chunks=(chunk_ticks(array), *array.shape[1:]),
                compressors=[ZstdCodec(level=ZSTD_LEVEL), Crc32cCodec()],
                attributes=attributes,
                dimension_names=["tick", *(f"{name}_{axis}" for axis in range(1, array.ndim))],
            )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for key, value in sorted(store._store_dict.items()):
            archive.writestr(zipfile.ZipInfo(key), value.to_bytes())
    return packed.getvalue()


def chunk_ticks(array: NDArray[Any]) -> int:
    """Ticks in one chunk of `array` (T, ...): about TARGET_CHUNK bytes."""
    tick_bytes = max(1, array.nbytes // len(array))
    return min(len(array), max(MIN_CHUNK_TICKS, TARGET_CHUNK // tick_bytes))


class Span(NamedTuple):
    """Where a member's bytes are in the file, and the zip's crc32 of them."""

    start: int
    size: int
    crc32: int


@dataclass(frozen=True)
class StoredArray:
    """One array: `spans` hold its chunks of `ticks` ticks, in order."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    ticks: int
    spans: tuple[Span, ...]
    texts: NDArray[np.str_] | None

    @property
    def field(self) -> Field:
        """What it holds per tick."""
        return Field("str" if self.texts is not None else self.dtype.name, self.shape[1:])


class EpisodeFile:
    """Reads one episode file. Opens the file for each read, so any number can be kept; safe from many threads.

    Raises StoreError that names the file when it is not what the ledger says.
    """

    def __init__(self, path: Path, size: int | None = None, directory_crc: int | None = None) -> None:
        self.path = path
        self._members, found_size, found_crc = self._directory()
        if size is not None and size != found_size:
            raise self._damaged(f"has {found_size} bytes, expected {size}")
        if directory_crc is not None and directory_crc != found_crc:
            raise self._damaged("its zip directory has a wrong checksum")
        self.size, self.directory_crc = found_size, found_crc
        self.info: Mapping[str, Any] = self._metadata("zarr.json").get("attributes", {}).get("info", {})
        suffix = "/zarr.json"
        nodes = {name.removesuffix(suffix): self._metadata(name) for name in self._members if name.endswith(suffix)}
        self.arrays = {name: self._array(name, node) for name, node in nodes.items() if node["node_type"] == "array"}
        lengths = {array.shape[0] for array in self.arrays.values()}
        if len(lengths) != 1:
            raise self._damaged("its arrays differ in length")
        self.length = lengths.pop()

    @property
    def fields(self) -> dict[str, Field]:
        """What it holds, by name."""
        return {name: array.field for name, array in self.arrays.items()}

    def read(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Ticks `start` to `stop` (default: the end) of the field `name`."""
        try:
            array = self.arrays[name]
        except KeyError:
            raise StoreError(f"{self.path} has no field '{name}'; fields: {', '.join(sorted(self.arrays))}") from None
        stop = self.length if stop is None else stop
        if not 0 <= start < stop <= self.length:
            raise ValueError(f"ticks {start} to {stop} are not within the episode's {self.length} ticks")
        values = np.empty((stop - start, *array.shape[1:]), array.dtype)
        first, last = start // array.ticks, (stop - 1) // array.ticks
        with self.path.open("rb", buffering=0) as file:
            for index in range(first, last + 1):
                chunk = self._chunk(file.fileno(), array, index)
                begin = index * array.ticks
                low, high = max(start, begin), min(stop, begin + array.ticks)
                values[low - start : high - start] = chunk[low - begin : high - begin]
        if array.texts is None:
            return values
        if values.max() >= len(array.texts):
            raise self._damaged(f"'{name}' names a text that is not there")
        return array.texts[values]

    def verify(self) -> None:
        """Read every chunk. Raises StoreError at the first that is damaged."""
        for name in self.arrays:
            self.read(name)

    def _chunk(self, fd: int, array: StoredArray, index: int) -> NDArray[Any]:
        """Chunk `index` of `array`, unpacked: (ticks, ...)."""
        span = array.spans[index]
        data = os.pread(fd, span.size, span.start)
        packed = data[:-4]
        if len(data) != span.size or crc32c(packed) != int.from_bytes(data[-4:], "little"):
            raise self._damaged(f"chunk {index} of '{array.name}' has a wrong checksum")
        chunk = np.empty((array.ticks, *array.shape[1:]), array.dtype)
        if content_size(packed) != chunk.nbytes:
            raise self._damaged(f"chunk {index} of '{array.name}' has a wrong size")
        decompress(packed, chunk)
        return chunk

    def _directory(self) -> tuple[dict[str, Span], int, int]:
        """Members by name, the file's size, and the crc32c of the zip directory."""
        try:
            with self.path.open("rb") as file, zipfile.ZipFile(file) as archive:
                if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                    raise self._damaged("its members are compressed by the zip; it was written by something else")
                members = {entry.filename: self._span(entry) for entry in archive.infolist()}
                size = file.seek(0, os.SEEK_END)
                file.seek(archive.start_dir)
                return members, size, crc32c(file.read())
        except FileNotFoundError:
            raise StoreError(f"{self.path} is missing; {self._repair}") from None
        except (zipfile.BadZipFile, ValueError, OSError, struct.error) as error:
            raise self._damaged(str(error)) from None

    @staticmethod
    def _span(entry: zipfile.ZipInfo) -> Span:
        header = 30 + len(entry.filename.encode())  # a zip's local header, written without extra fields
        return Span(entry.header_offset + header, entry.file_size, entry.CRC)

    def _metadata(self, name: str) -> dict[str, Any]:
        """The checked content of the metadata file `name`."""
        span = self._members.get(name)
        if span is None or span.size > MAX_METADATA:
            raise self._damaged(f"'{name}' is missing or too large")
        with self.path.open("rb", buffering=0) as file:
            data = os.pread(file.fileno(), span.size, span.start)
        if zlib.crc32(data) != span.crc32:
            raise self._damaged(f"'{name}' has a wrong checksum")
        try:
            node = json.loads(data)
        except ValueError:
            node = None
        if not isinstance(node, dict) or node.get("zarr_format") != 3:
            raise self._damaged(f"'{name}' is not zarr 3 metadata")
        return node

    def _array(self, name: str, node: dict[str, Any]) -> StoredArray:
        """The array `name`, from its metadata. Raises StoreError when it is not one that `encode` writes."""
        try:
            shape = tuple(int(n) for n in node["shape"])
            chunks = tuple(int(n) for n in node["chunk_grid"]["configuration"]["chunk_shape"])
            codecs = [codec["name"] for codec in node["codecs"]]
            texts = node["attributes"].get(TEXTS)
            dtype = np.dtype(node["data_type"]) if node["data_type"] in DTYPES else None
        except (KeyError, TypeError, ValueError):
            raise self._damaged(f"'{name}' has metadata of another kind") from None
        if dtype is None or codecs != CODECS or not shape or chunks[1:] != shape[1:] or not 0 < chunks[0] <= shape[0]:
            raise self._damaged(f"'{name}' is stored in a form that was not written here")
        if dtype.itemsize * int(np.prod(chunks, dtype=object)) > MAX_CHUNK:
            raise self._damaged(f"'{name}' has chunks of more than {MAX_CHUNK} bytes")
        zeros = "/0" * (len(shape) - 1)
        keys = [f"{name}/c/{index}{zeros}" for index in range(-(-shape[0] // chunks[0]))]
        missing = [key for key in keys if key not in self._members]
        if missing:
            raise self._damaged(f"'{missing[0]}' is missing")
        spans = tuple(self._members[key] for key in keys)
        return StoredArray(name, dtype, shape, chunks[0], spans, None if texts is None else np.array(texts, np.str_))

    @property
    def _repair(self) -> str:
        return f"restore it from a copy, or drop it with EpisodeStore.repair('{self.path.parent.parent}')"

    def _damaged(self, why: str) -> StoreError:
        return StoreError(f"{self.path} is damaged: {why}; {self._repair}")


def content_size(frame: bytes) -> int | None:
    """Bytes that a zstd frame says it unpacks to; None when it does not say (RFC 8878, 3.1.1.1)."""
    if len(frame) < 6 or frame[:4] != b"\x28\xb5\x2f\xfd":
        return None
    descriptor = frame[4]
    single_segment = bool(descriptor & 0x20)
    width = (1 if single_segment else 0, 2, 4, 8)[descriptor >> 6]
    start = 5 + (not single_segment) + (0, 1, 2, 4)[descriptor & 3]
    if width == 0 or len(frame) < start + width:
        return None
    return int.from_bytes(frame[start : start + width], "little") + (256 if width == 2 else 0)
