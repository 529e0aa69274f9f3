import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from runners.images import MAX_PIXELS, MAX_SIDE_PX, ImageError, decode

W, H = 48, 32
# No two quadrants are alike, so every way of turning and mirroring shows.
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
QUADRANTS = {"top left": RED, "top right": GREEN, "bottom left": BLUE, "bottom right": WHITE}
LUMA = {RED: 76, GREEN: 150, BLUE: 29, WHITE: 255}
# What a JPEG's rounding may change in the middle of a quadrant.
JPEG_TOLERANCE = 4

EXIF_ORIENTATION = 0x0112
# How a file with this orientation stores an upright picture: the turn that its reader has to undo.
STORED_BY = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def picture(scale: int = 1) -> Image.Image:
    image = Image.new("RGB", (W, H), RED)
    image.paste(GREEN, (W // 2, 0, W, H // 2))
    image.paste(BLUE, (0, H // 2, W // 2, H))
    image.paste(WHITE, (W // 2, H // 2, W, H))
    return image.resize((W * scale, H * scale), Image.Resampling.NEAREST)


def saved(image: Image.Image, file_format: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def jpeg(image: Image.Image, **options: Any) -> bytes:
    return saved(image, "JPEG", quality=95, subsampling=0, **options)


def transparent() -> Image.Image:
    """The picture with its white quadrant fully transparent, and black beneath."""
    image = picture().convert("RGBA")
    image.paste((0, 0, 0, 0), (W // 2, H // 2, W, H))
    return image


def palette_with_transparency() -> bytes:
    image = picture().quantize(8)
    white = image.getpixel((W - 1, H - 1))
    return saved(image, "PNG", transparency=white)


def png_of_16_bit_colours() -> bytes:
    bgr = np.asarray(picture())[..., ::-1].astype(np.uint16) * 257
    return cv2.imencode(".png", bgr)[1].tobytes()


def quadrants(pixels: NDArray[np.uint8]) -> dict[str, list[int]]:
    h, w = pixels.shape[:2]
    rows, columns = {"top": h // 4, "bottom": h * 3 // 4}, {"left": w // 4, "right": w * 3 // 4}
    return {
        f"{row} {column}": np.atleast_1d(pixels[y, x]).astype(int).tolist()
        for row, y in rows.items()
        for column, x in columns.items()
    }


def assert_shows_the_picture(pixels: NDArray[np.uint8], tolerance: int = 0) -> None:
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    found = quadrants(pixels)
    for name, colour in QUADRANTS.items():
        expected = list(colour) if pixels.ndim == 3 else [LUMA[colour]]
        assert found[name] == pytest.approx(expected, abs=tolerance + (pixels.ndim == 2)), name


FILES: dict[str, tuple[Callable[[], bytes], int]] = {
    "JPEG": (lambda: jpeg(picture()), JPEG_TOLERANCE),
    "progressive JPEG": (lambda: jpeg(picture(), progressive=True), JPEG_TOLERANCE),
    "CMYK JPEG": (lambda: jpeg(picture().convert("CMYK")), JPEG_TOLERANCE),
    # What many telephones write: a JPEG with a second picture behind it.
    "JPEG of two pictures": (
        lambda: saved(
            picture(), "MPO", quality=95, subsampling=0, save_all=True, append_images=[Image.new("RGB", (W, H))]
        ),
        JPEG_TOLERANCE,
    ),
    "PNG": (lambda: saved(picture(), "PNG"), 0),
    "16-bit PNG": (png_of_16_bit_colours, 0),
    "PNG with an opaque alpha channel": (lambda: saved(picture().convert("RGBA"), "PNG"), 0),
    "PNG with transparency, over white": (lambda: saved(transparent(), "PNG"), 0),
    "palette PNG": (lambda: saved(picture().quantize(8), "PNG"), 0),
    "palette PNG with transparency": (palette_with_transparency, 0),
    "lossless WebP": (lambda: saved(picture(), "WEBP", lossless=True), 0),
    "WebP": (lambda: saved(picture(), "WEBP", quality=100), 12),
    "BMP": (lambda: saved(picture(), "BMP"), 0),
    "TIFF": (lambda: saved(picture(), "TIFF"), 0),
    "compressed TIFF": (lambda: saved(picture(), "TIFF", compression="tiff_lzw"), 0),
}


@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
@pytest.mark.parametrize(("make", "tolerance"), FILES.values(), ids=FILES.keys())
def test_every_format_shows_the_same_picture(make: Callable[[], bytes], tolerance: int, grey: bool) -> None:
    image = decode(make(), grey=grey)

    assert image.full_wh == (W, H)
    assert image.pixels.shape == ((H, W) if grey else (H, W, 3))
    assert_shows_the_picture(image.pixels, tolerance)


GREY_FILES: dict[str, tuple[Callable[[Image.Image], bytes], int]] = {
    "grey JPEG": (jpeg, JPEG_TOLERANCE),
    "grey PNG": (lambda image: saved(image, "PNG"), 0),
    "grey PNG with alpha": (lambda image: saved(image.convert("LA"), "PNG"), 0),
    "grey 16-bit PNG": (lambda i: cv2.imencode(".png", np.asarray(i).astype(np.uint16) * 257)[1].tobytes(), 0),
    "grey 16-bit TIFF": (lambda i: cv2.imencode(".tiff", np.asarray(i).astype(np.uint16) * 257)[1].tobytes(), 0),
    "grey WebP": (lambda image: saved(image, "WEBP", lossless=True), 0),
    "grey BMP": (lambda image: saved(image, "BMP"), 0),
    "grey TIFF": (lambda image: saved(image, "TIFF"), 0),
}


@pytest.mark.parametrize("grey", [False, True], ids=["as colour", "as grey"])
@pytest.mark.parametrize(("make", "tolerance"), GREY_FILES.values(), ids=GREY_FILES.keys())
def test_a_grey_file_keeps_its_shades(make: Callable[[Image.Image], bytes], tolerance: int, grey: bool) -> None:
    ramp = Image.fromarray(np.linspace(0, 255, W).astype(np.uint8)[None].repeat(H, axis=0))

    image = decode(make(ramp), grey=grey)

    assert image.pixels.shape == ((H, W) if grey else (H, W, 3))
    columns = image.pixels[H // 2].reshape(W, -1).astype(int)
    assert np.abs(columns - np.asarray(ramp)[0].astype(int)[:, None]).max() <= tolerance


def test_a_black_and_white_png_is_black_and_white() -> None:
    image = decode(saved(Image.new("1", (W, H), 1), "PNG"))

    assert image.pixels.min() == 255


EXIF_FILES: dict[str, tuple[Callable[..., bytes], int]] = {
    "JPEG": (jpeg, JPEG_TOLERANCE),
    "CMYK JPEG": (lambda image, **options: jpeg(image.convert("CMYK"), **options), JPEG_TOLERANCE),
    "PNG": (lambda image, **options: saved(image, "PNG", **options), 0),
    "WebP": (lambda image, **options: saved(image, "WEBP", lossless=True, **options), 0),
    "TIFF": (lambda image, **options: saved(image, "TIFF", **options), 0),
}


@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
@pytest.mark.parametrize("orientation", STORED_BY)
@pytest.mark.parametrize(("make", "tolerance"), EXIF_FILES.values(), ids=EXIF_FILES.keys())
def test_a_turned_picture_comes_out_upright(
    make: Callable[..., bytes], tolerance: int, orientation: int, grey: bool
) -> None:
    turn = STORED_BY[orientation]
    stored = picture() if turn is None else picture().transpose(turn)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation

    image = decode(make(stored, exif=exif), grey=grey)

    assert image.full_wh == (W, H)
    assert image.pixels.shape[:2] == (H, W)
    assert_shows_the_picture(image.pixels, tolerance)


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_an_orientation_that_does_not_exist_changes_nothing(orientation: int) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation

    image = decode(jpeg(picture(), exif=exif))

    assert image.full_wh == (W, H)
    assert_shows_the_picture(image.pixels, JPEG_TOLERANCE)


@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
@pytest.mark.parametrize("turned", [False, True], ids=["upright", "turned"])
@pytest.mark.parametrize(
    ("min_side_px", "factor"),
    [(None, 1), (5000, 1), (961, 1), (960, 1), (481, 1), (480, 2), (241, 2), (240, 4), (121, 4), (120, 8), (1, 8)],
)
def test_a_jpeg_is_decoded_no_smaller_than_asked_for(
    min_side_px: int | None, factor: int, turned: bool, grey: bool
) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6 if turned else 1
    stored = picture(20).transpose(Image.Transpose.ROTATE_90) if turned else picture(20)

    image = decode(jpeg(stored, exif=exif), grey=grey, min_side_px=min_side_px)

    assert image.full_wh == (960, 640)
    assert image.pixels.shape[:2] == (640 // factor, 960 // factor)
    assert image.pixels.ndim == (2 if grey else 3)
    assert_shows_the_picture(image.pixels, JPEG_TOLERANCE)


@pytest.mark.parametrize("side_px", [799, 800, 801, 1599, 1600, 1601, 1607, 3203])
def test_odd_sizes_are_reduced_to_no_less_than_asked_for(side_px: int) -> None:
    image = decode(jpeg(Image.new("RGB", (37, side_px), RED)), min_side_px=800)

    assert image.full_wh == (37, side_px)
    assert max(image.pixels.shape) >= min(side_px, 800)


@pytest.mark.parametrize("min_side_px", [100, 480, 481, 2000])
def test_a_format_that_decodes_in_full_only_is_reduced_after(min_side_px: int) -> None:
    image = decode(saved(picture(20), "PNG"), min_side_px=min_side_px)

    factor = max(1, 960 // min_side_px)
    assert image.pixels.shape[:2] == (-(-640 // factor), -(-960 // factor))
    assert image.full_wh == (960, 640)


def code_of(encoded: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode(encoded)
    assert caught.value.failure.message == str(caught.value)
    return caught.value.failure.code


def jpeg_with_thumbnail() -> bytes:
    """A JPEG whose EXIF block holds a whole small JPEG, end marker included, as cameras write it."""
    exif = Image.Exif()
    exif[0x010E] = jpeg(picture()).decode("latin-1")  # any tag will do: what matters is the markers within
    return jpeg(picture(20), exif=exif)


CUT_OFF: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: jpeg(picture(20)),
    "progressive JPEG": lambda: jpeg(picture(20), progressive=True),
    "JPEG with a thumbnail": jpeg_with_thumbnail,
    "CMYK JPEG": lambda: jpeg(picture(20).convert("CMYK")),
    "PNG": lambda: saved(picture(20), "PNG"),
    "WebP": lambda: saved(picture(20), "WEBP"),
    "BMP": lambda: saved(picture(20), "BMP"),
    "TIFF": lambda: saved(picture(20), "TIFF"),
}


@pytest.mark.parametrize("share", [0.5, 0.9], ids=["half", "nine tenths"])
@pytest.mark.parametrize("make", CUT_OFF.values(), ids=CUT_OFF.keys())
def test_a_file_cut_off_is_broken(make: Callable[[], bytes], share: float) -> None:
    encoded = make()

    assert code_of(encoded[: int(len(encoded) * share)]) == "image_broken"


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"x", id="one byte"),
        pytest.param(np.random.default_rng(0).bytes(10_000), id="random bytes"),
        pytest.param(b"<html><body>Sign in</body></html>", id="a web page"),
        pytest.param(b"%PDF-1.7\n", id="a PDF"),
        pytest.param(saved(picture(), "GIF"), id="a GIF"),
        pytest.param(saved(picture(), "PPM"), id="a PPM"),
    ],
)
def test_what_is_no_image_of_a_known_format_is_unsupported(encoded: bytes) -> None:
    assert code_of(encoded) == "image_format_unsupported"


def png_header(width: int, height: int) -> bytes:
    """A PNG with a header of that size and no pixels: to decode it would fail."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("width", "height"),
    [(30_000, 30_000), (MAX_PIXELS // 1000 + 1, 1000), (MAX_SIDE_PX + 1, 1), (1, MAX_SIDE_PX + 1)],
)
def test_an_image_too_large_is_refused_by_its_header(width: int, height: int) -> None:
    assert code_of(png_header(width, height)) == "image_too_large"


def test_an_image_of_the_largest_size_is_not_too_large() -> None:
    assert code_of(png_header(10_000, MAX_PIXELS // 10_000)) == "image_broken"
