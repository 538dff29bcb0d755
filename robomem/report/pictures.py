"""Pictures inside a page: data addresses, and sheets that hold many small pictures in one."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, sqrt

import numpy as np
from PIL import Image as Picture

from robomem.types import Image

WEBP_QUALITY = 80


def data_uri(kind: str, content: bytes) -> str:
    """`content` of media type `kind` as an address that needs no network."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def webp(image: Image) -> str:
    """`image` uint8 (H, W, 3) as a WebP data address."""
    sink = io.BytesIO()
    Picture.fromarray(image).save(sink, format="WEBP", quality=WEBP_QUALITY, method=4)
    return data_uri("image/webp", sink.getvalue())


def png(image: Image) -> str:
    """`image` uint8 (H, W, 4) as a PNG data address, transparency kept."""
    sink = io.BytesIO()
    Picture.fromarray(image).save(sink, format="PNG", optimize=True)
    return data_uri("image/png", sink.getvalue())


def shrink(image: Image, width_px: int) -> Image:
    """`image` no wider than `width_px`, its shape kept."""
    height, width, _ = image.shape
    if width <= width_px:
        return image
    size = (width_px, max(1, round(height * width_px / width)))
    return np.asarray(Picture.fromarray(image).resize(size, Picture.Resampling.LANCZOS))


@dataclass
class Sheet:
    """Many pictures of one size in one; a picture that is added twice is kept once."""

    width_px: int
    tiles: list[Image] = field(default_factory=list)
    _index: dict[bytes, int] = field(default_factory=dict)

    def add(self, image: Image) -> int:
        """Place of `image` on the sheet."""
        key = image.tobytes() + repr(image.shape).encode()
        if key not in self._index:
            self._index[key] = len(self.tiles)
            self.tiles.append(shrink(image, self.width_px))
        return self._index[key]

    @property
    def tile_size(self) -> tuple[int, int]:
        """Width and height of one tile [px]; smaller pictures sit at the upper left."""
        if not self.tiles:
            return (1, 1)
        return max(tile.shape[1] for tile in self.tiles), max(tile.shape[0] for tile in self.tiles)

    @property
    def columns(self) -> int:
        """Tiles in a row."""
        return max(1, ceil(sqrt(len(self.tiles))))

    def uri(self) -> str:
        """The sheet as one WebP data address."""
        return webp(_tiled(self.tiles, self.tile_size, self.columns))


def _tiled(tiles: Sequence[Image], size: tuple[int, int], columns: int) -> Image:
    width, height = size
    sheet = np.zeros((max(1, -(-len(tiles) // columns)) * height, columns * width, 3), dtype=np.uint8)
    for i, tile in enumerate(tiles):
        row, column = divmod(i, columns)
        sheet[row * height : row * height + tile.shape[0], column * width : column * width + tile.shape[1]] = tile
    return sheet
