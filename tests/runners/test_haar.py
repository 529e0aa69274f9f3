from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runners.faces import Faces, Failure, Item, Outcome
from runners.haar import HaarDetector, confidence

ASTRONAUT = Path(__file__).parents[2] / "examples" / "astronaut.jpg"
BOX = [178, 67, 92, 92]
# The cascade's steps are tenths of the box: another build of OpenCV may end a pixel or two away.
TOLERANCE_PX = 4


@pytest.fixture(scope="module")
def detector() -> HaarDetector:
    return HaarDetector()


@pytest.fixture(scope="module")
def astronaut() -> Item:
    return Item(ASTRONAUT.read_bytes())


def item(image: Image.Image) -> Item:
    file = BytesIO()
    image.save(file, "JPEG", quality=95)
    return Item(file.getvalue())


def faces(outcome: Outcome) -> Faces:
    assert isinstance(outcome, Faces)
    return outcome


def test_the_astronaut_has_one_face_where_it_always_was(detector: HaarDetector, astronaut: Item) -> None:
    found = faces(detector.detect([astronaut])[0])

    assert found.image_wh == (512, 512)
    assert len(found) == 1
    assert found.boxes_xywh[0].tolist() == pytest.approx(BOX, abs=TOLERANCE_PX)
    assert 0.85 < found.confidences[0] < 1
    assert found.points_xy.shape == (1, 0, 2)


@pytest.mark.parametrize("side_px", [1024, 2048, 4096])
def test_a_larger_copy_has_its_box_in_its_own_pixels(detector: HaarDetector, side_px: int) -> None:
    with Image.open(ASTRONAUT) as image:
        large = item(image.resize((side_px, side_px), Image.Resampling.BICUBIC))

    found = faces(detector.detect([large])[0])

    scale = side_px / 512
    assert found.image_wh == (side_px, side_px)
    assert found.boxes_xywh[0].tolist() == pytest.approx([side * scale for side in BOX], abs=8 * scale)


@pytest.mark.parametrize("size", [(300, 200), (1, 1), (20_000, 1), (1, 3000)], ids=str)
def test_a_blank_image_has_no_faces(detector: HaarDetector, size: tuple[int, int]) -> None:
    found = faces(detector.detect([item(Image.new("RGB", size, "grey"))])[0])

    assert found.image_wh == size
    assert len(found) == 0


def test_a_broken_image_fails_alone(detector: HaarDetector, astronaut: Item) -> None:
    broken = Item(astronaut.image[: len(astronaut.image) // 2])

    first, second, third, fourth = detector.detect([astronaut, broken, Item(b"no image"), astronaut])

    assert len(faces(first)) == 1
    assert isinstance(second, Failure)
    assert second.code == "image_broken"
    assert isinstance(third, Failure)
    assert third.code == "image_format_unsupported"
    assert len(faces(fourth)) == 1


def test_a_batch_gives_what_its_images_give_alone(detector: HaarDetector, astronaut: Item) -> None:
    with Image.open(ASTRONAUT) as image:
        items = [
            astronaut,
            item(image.resize((900, 900))),
            item(Image.new("RGB", (64, 48), "white")),
            item(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
            item(image.crop((100, 0, 400, 300))),
        ]

    batch = [faces(outcome) for outcome in detector.detect(items)]

    for one, together in zip(items, batch, strict=True):
        alone = faces(detector.detect([one])[0])
        assert together.image_wh == alone.image_wh
        np.testing.assert_allclose(together.boxes_xywh, alone.boxes_xywh, atol=1)
        np.testing.assert_allclose(together.confidences, alone.confidences, atol=0.01)


def test_a_batch_of_nothing_is_nothing(detector: HaarDetector) -> None:
    assert detector.detect([]) == []


def test_a_higher_weight_is_a_higher_confidence_between_0_and_1() -> None:
    weights = np.linspace(-20, 20, 401)

    mapped = confidence(weights)

    assert (np.diff(mapped) > 0).all()
    assert mapped[0] > 0
    assert mapped[-1] < 1


def test_the_confidence_has_the_documented_values() -> None:
    assert confidence(np.array([0, 1, 5.4])).tolist() == pytest.approx([0.34, 0.5, 0.95], abs=0.005)


def test_an_extreme_weight_has_a_confidence_still() -> None:
    with np.errstate(over="ignore"):
        assert confidence(np.array([-1e6, 1e6])).tolist() == [0, 1]
