"""One episode as one file: a zarr 3 group in an uncompressed zip, so `zarr.storage.ZipStore` reads it as it is.

Every chunk ends in a crc32c, every metadata file has the zip's crc32, and the zip's directory is covered by a checksum
in the ledger. Writing goes through zarr; reading decodes chunks directly, because zarr takes about 1 ms a read.
"""

import io
import json
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from google_crc32c import value as crc32c
from numcodecs.zstd import decompress
from numpy.typing import NDArray

from robomem.data.episode import DTYPES, Episode, Field
from robomem.errors import StoreError

ZSTD_LEVEL = 3
TARGET_CHUNK = 192 * 1024  # bytes: decoded in 0.1 ms; half the size on disk of 96 KiB, and no slower to read
MIN_CHUNK_TICKS = 4  # two images of a camera at half the loop's rate
MAX_CHUNK = 256 * 1024 * 1024  # bytes that one chunk may unpack to
MAX_METADATA = 16 * 1024 * 1024  # bytes that one metadata file, or the zip's directory, may take
MAX_READ = 8 * 1024 * 1024 * 1024  # bytes that one read may return
TEXTS = "texts"  # attribute of an array of text: the strings that its numbers stand for
CODECS = ["bytes", "zstd", "crc32c"]


def encode(episode: Episode) -> bytes:
    """The episode file's bytes; the same episode gives the same bytes.

    Raises ValueError when a chunk or a metadata file would be larger than `EpisodeFile` reads.
    """
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
            if (chunk_bytes := chunk_ticks(array) * (array.nbytes // len(array))) > MAX_CHUNK:
                raise ValueError(f"field '{name}' takes {chunk_bytes} bytes a chunk, expected at most {MAX_CHUNK}")
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
            member = value.to_bytes()
            if _is_node(key) and len(member) > MAX_METADATA:
                what = f"field '{name}'" if (name := key.rpartition("/")[0]) else "info"
                raise ValueError(f"{what} takes {len(member)} bytes of metadata, expected at most {MAX_METADATA}")
            archive.writestr(zipfile.ZipInfo(key), member)
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
    def tick_bytes(self) -> int:
        """Bytes of one tick."""
        return self.dtype.itemsize * math.prod(self.shape[1:])

    @property
    def field(self) -> Field:
        """What it holds per tick."""
        return Field("str" if self.texts is not None else self.dtype.name, self.shape[1:])


class EpisodeFile:
    """Reads one episode file. Holds no open file, so any number can be kept; safe from many threads.

    Raises StoreError that names the file and the repair when the file is missing, damaged or of another kind.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        members = self._directory()
        nodes = {name.rpartition("zarr.json")[0]: self._metadata(name, members) for name in members if _is_node(name)}
        if "" not in nodes or not isinstance(info := nodes[""].get("attributes", {}).get("info"), dict):
            raise self.damaged("it has no notes of an episode")
        self.info: Mapping[str, Any] = info
        self.arrays = {
            name.rstrip("/"): self._array(name.rstrip("/"), node, members)
            for name, node in nodes.items()
            if node.get("node_type") == "array"
        }
        lengths = {array.shape[0] for array in self.arrays.values()}
        if len(lengths) != 1:
            raise self.damaged(f"its arrays have the lengths {sorted(lengths)}, expected one length")
        self.length = lengths.pop()

    @property
    def fields(self) -> dict[str, Field]:
        """What it holds per tick, by name."""
        return {name: array.field for name, array in self.arrays.items()}

    def read(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Ticks `start` to `stop` (default: the end) of the field `name`."""
        array = self.array(name)
        stop = self.length if stop is None else stop
        if not 0 <= start < stop <= self.length:
            raise ValueError(f"ticks {start} to {stop} are not within the episode's {self.length} ticks")
        if (stop - start) * array.tick_bytes > MAX_READ:
            raise ValueError(f"ticks {start} to {stop} of '{name}' take more than {MAX_READ} bytes; read fewer at once")
        values = np.empty((stop - start, *array.shape[1:]), array.dtype)
        with self.opened() as fd:
            for index in range(start // array.ticks, (stop - 1) // array.ticks + 1):
                begin = index * array.ticks
                low, high = max(start, begin), min(stop, begin + array.ticks)
                values[low - start : high - start] = self.chunk(fd, array, index)[low - begin : high - begin]
        if array.texts is None:
            return values
        if values.max() >= len(array.texts):
            raise self.damaged(f"'{name}' names a text that is not there")
        return array.texts[values]

    def array(self, name: str) -> StoredArray:
        """Where the field `name` lies. Raises StoreError that lists the fields when there is none."""
        try:
            return self.arrays[name]
        except KeyError:
            raise StoreError(f"{self.path} has no field '{name}'; fields: {', '.join(sorted(self.arrays))}") from None

    @contextmanager
    def opened(self) -> Iterator[int]:
        """The file's descriptor, for `chunk`."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise self.damaged(f"it cannot be opened ({error.strerror})") from None
        try:
            yield fd
        finally:
            os.close(fd)

    def chunk(self, fd: int, array: StoredArray, index: int) -> NDArray[Any]:
        """Chunk `index` of `array`, unpacked: (ticks, ...); past the episode's end it holds padding."""
        span = array.spans[index]
        data = os.pread(fd, span.size, span.start)
        packed = data[:-4]
        if len(data) != span.size or crc32c(packed) != int.from_bytes(data[-4:], "little"):
            raise self.damaged(f"chunk {index} of '{array.name}' has a wrong checksum")
        chunk = np.empty((array.ticks, *array.shape[1:]), array.dtype)
        if content_size(packed) != chunk.nbytes:
            raise self.damaged(f"chunk {index} of '{array.name}' unpacks to a wrong size")
        try:
            decompress(packed, chunk)
        except RuntimeError as error:
            raise self.damaged(f"chunk {index} of '{array.name}': {error}") from None
        return chunk

    def verify(self) -> None:
        """Check every byte. Raises StoreError at the first that is wrong."""
        with zipfile.ZipFile(self.path) as archive:
            if (name := archive.testzip()) is not None:
                raise self.damaged(f"'{name}' has a wrong checksum")
        with self.opened() as fd:
            for array in self.arrays.values():
                for index in range(len(array.spans)):
                    self.chunk(fd, array, index)

    def damaged(self, why: str) -> StoreError:
        """The error to raise when the file is not as it was written."""
        return StoreError(f"{self.path} is damaged: {why}; {self._repair}")

    @property
    def _repair(self) -> str:
        return f"restore it from a copy, or go on without it by EpisodeStore.repair('{self.path.parent.parent}')"

    def _directory(self) -> dict[str, Span]:
        """Members by name; sets `size` and `directory_crc`, by which the ledger knows the file."""
        try:
            with self.path.open("rb") as file, zipfile.ZipFile(file) as archive:
                self.size = file.seek(0, os.SEEK_END)
                file.seek(archive.start_dir)
                self.directory_crc = int(crc32c(file.read(MAX_METADATA)))
                entries = archive.infolist()
        except FileNotFoundError:
            raise StoreError(f"{self.path} is missing; {self._repair}") from None
        # zipfile raises NotImplementedError for an archive that needs what it cannot do: here, a damaged one
        except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, OSError, struct.error) as error:
            raise self.damaged(str(error)) from None
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise self.damaged("its members are packed by the zip, as is not done here")
        return {entry.filename: _span(entry) for entry in entries}

    def _metadata(self, name: str, members: Mapping[str, Span]) -> dict[str, Any]:
        """The checked content of the metadata file `name`."""
        span = members[name]
        if span.size > MAX_METADATA:
            raise self.damaged(f"'{name}' takes {span.size} bytes, more than {MAX_METADATA}")
        with self.opened() as fd:
            data = os.pread(fd, span.size, span.start)
        if zlib.crc32(data) != span.crc32:
            raise self.damaged(f"'{name}' has a wrong checksum")
        try:
            node = json.loads(data)
        except ValueError:
            node = None
        if not isinstance(node, dict) or node.get("zarr_format") != 3:
            raise self.damaged(f"'{name}' is not zarr 3 metadata")
        return node

    def _array(self, name: str, node: dict[str, Any], members: Mapping[str, Span]) -> StoredArray:
        """The array `name`, from its metadata. Raises StoreError when it is not one that `encode` writes."""
        try:
            shape = tuple(int(n) for n in node["shape"])
            chunks = tuple(int(n) for n in node["chunk_grid"]["configuration"]["chunk_shape"])
            codecs = [codec["name"] for codec in node["codecs"]]
            texts = node["attributes"].get(TEXTS)
            dtype = np.dtype(node["data_type"]) if node["data_type"] in DTYPES else None
        except (KeyError, TypeError, ValueError, AttributeError):
            raise self.damaged(f"'{name}' has metadata of another kind") from None
        if dtype is None or codecs != CODECS or not shape or chunks[1:] != shape[1:] or not 0 < chunks[0] <= shape[0]:
            raise self.damaged(f"'{name}' is stored in a form that is not written here")
        if dtype.itemsize * math.prod(chunks) > MAX_CHUNK:
            raise self.damaged(f"'{name}' has chunks of more than {MAX_CHUNK} bytes")
        zeros = "/0" * (len(shape) - 1)
        keys = [f"{name}/c/{index}{zeros}" for index in range(min(-(-shape[0] // chunks[0]), len(members) + 1))]
        if missing := [key for key in keys if key not in members]:
            raise self.damaged(f"'{missing[0]}' is missing")
        spans = tuple(members[key] for key in keys)
        return StoredArray(name, dtype, shape, chunks[0], spans, None if texts is None else np.array(texts, np.str_))


def _is_node(name: str) -> bool:
    return name == "zarr.json" or name.endswith("/zarr.json")


def _span(entry: zipfile.ZipInfo) -> Span:
    local_header = 30 + len(entry.filename.encode())  # bytes; `encode` writes it without extra fields
    return Span(entry.header_offset + local_header, entry.file_size, entry.CRC)


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
