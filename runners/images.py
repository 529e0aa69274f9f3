"""From an encoded file to upright pixels: the header first, then no more pixels than asked for."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from runners.faces import Failure

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
MAX_PIXELS = 50_000_000
MAX_SIDE_PX = 20_000

# Our limits are stricter than Pillow's own, which would only warn.
Image.MAX_IMAGE_PIXELS = None
# All of Pillow's plugins now, and not when the first file comes that is no image.
Image.init()

_EXIF_ORIENTATION = 0x0112
_TO_UPRIGHT: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}
_SIDES_SWAP = {5, 6, 7, 8}

# {factor: (flag for RGB, flag for grey)}: a JPEG decoder skips most of the work at 1/2, 1/4 and 1/8.
_CV2_FLAGS = {
    8: (cv2.IMREAD_REDUCED_COLOR_8 | cv2.IMREAD_COLOR_RGB, cv2.IMREAD_REDUCED_GRAYSCALE_8),
    4: (cv2.IMREAD_REDUCED_COLOR_4 | cv2.IMREAD_COLOR_RGB, cv2.IMREAD_REDUCED_GRAYSCALE_4),
    2: (cv2.IMREAD_REDUCED_COLOR_2 | cv2.IMREAD_COLOR_RGB, cv2.IMREAD_REDUCED_GRAYSCALE_2),
    1: (cv2.IMREAD_COLOR_RGB, cv2.IMREAD_GRAYSCALE),
}


class ImageError(Exception):
    """An image that cannot be searched; ``failure`` says why, in words for its sender."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.failure = Failure(code, message)


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """``pixels``: uint8, contiguous, (h, w, 3) RGB or (h, w) grey; ``full_wh``: the upright size before reduction."""

    pixels: NDArray[np.uint8]
    full_wh: tuple[int, int]


def decode(encoded: bytes, *, grey: bool = False, min_side_px: int | None = None) -> DecodedImage:
    """Decode JPEG, PNG, WebP, BMP or TIFF (the first frame) as a browser shows it, EXIF orientation applied.

    With ``min_side_px``, the image is reduced by a whole factor as long as its longer side stays at least that long; a
    JPEG (by 2, 4 or 8) already while it is decoded.

    Raises ImageError: ``image_format_unsupported``, ``image_too_large`` (by the header, before memory is spent),
    ``image_broken``.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata; the pixels decide
            image = Image.open(BytesIO(encoded), formats=FORMATS)
            width, height = image.size
            _check_size(width, height)
            # Pillow turns a TIFF upright by itself.
            orientation = 1 if image.format == "TIFF" else image.getexif().get(_EXIF_ORIENTATION, 1)
            # MPO is a JPEG with a second picture behind it, as phones make them.
            if image.format in ("JPEG", "MPO") and image.mode in ("RGB", "L") and _is_whole_jpeg(encoded):
                pixels = _decode_with_opencv(encoded, max(width, height), grey, min_side_px or max(width, height))
            else:
                pixels = _decode_with_pillow(image, grey, min_side_px or max(width, height))
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError("image_format_unsupported", f"not an image of a known format ({', '.join(FORMATS)})") from None
    except Exception as error:  # decoders meet hostile bytes with many exceptions: OSError, SyntaxError, ValueError …
        raise ImageError("image_broken", "the image file is damaged or cut off") from error
    if orientation in _TO_UPRIGHT:
        pixels = np.ascontiguousarray(_TO_UPRIGHT[orientation](pixels))
    return DecodedImage(pixels, (height, width) if orientation in _SIDES_SWAP else (width, height))


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        message = f"the image is {width * height / 1e6:.1f} MP, the limit is {MAX_PIXELS / 1e6:.0f} MP"
        raise ImageError("image_too_large", message)
    if max(width, height) > MAX_SIDE_PX:
        message = f"the image's longer side is {max(width, height)} px, the limit is {MAX_SIDE_PX} px"
        raise ImageError("image_too_large", message)


def _is_whole_jpeg(encoded: bytes) -> bool:
    """Tell whether an end marker follows the last scan: OpenCV fills up a cut-off file with grey and says nothing."""
    return encoded.rfind(b"\xff\xd9") > encoded.rfind(b"\xff\xda")


def _decode_with_opencv(encoded: bytes, side_px: int, grey: bool, min_side_px: int) -> NDArray[np.uint8]:
    """Decode a plain JPEG: three times as fast as Pillow."""
    factor = next((f for f in (8, 4, 2) if side_px // f >= min_side_px), 1)
    flags = _CV2_FLAGS[factor][grey] | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    if pixels is None:
        raise ImageError("image_broken", "the image file is damaged or cut off")
    return pixels.astype(np.uint8, copy=False)


def _decode_with_pillow(image: Image.Image, grey: bool, min_side_px: int) -> NDArray[np.uint8]:
    """Decode anything else, every mode: palettes, alpha (over white), CMYK, 16 bits."""
    image.load()
    if image.mode.startswith("I"):  # 16-bit grey: convert() would clip it instead of scaling it
        high_byte = (np.asarray(image).astype(np.int32) >> 8).clip(0, 255).astype(np.uint8)
        image = Image.fromarray(high_byte)
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(ground, image.convert("RGBA"))
    image = image.convert("RGB").convert("L") if grey else image.convert("RGB")
    factor = max(image.size) // min_side_px
    return np.array(image.reduce(factor) if factor > 1 else image)
