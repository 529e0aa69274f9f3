from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from runners.faces import Faces, Failure, Item, Outcome
from runners.landmarks import LandmarkDetector
from runners.mediapipe_graph import FaceGraph

ASTRONAUT = Path(__file__).parents[2] / "examples" / "astronaut.jpg"
BOX = [179.2, 68.8, 92.6, 108.8]
POINTS = {
    "tip of the nose": (1, (223.0, 130.5)),
    "top of the face": (10, (226.9, 69.2)),
    "outer corner of the right eye": (33, (194.8, 100.3)),
    "right corner of the mouth": (61, (202.1, 139.3)),
    "chin": (152, (221.1, 177.6)),
    "outer corner of the left eye": (263, (255.7, 104.1)),
    "left corner of the mouth": (291, (245.4, 140.5)),
}
# 3 % of the face's width: other processors round otherwise, another model or a wrong index is farther off.
TOLERANCE_PX = 3
# The same model on the same pixels, in another order of work.
SAME_PX = 0.1


@pytest.fixture(scope="module")
def detector() -> LandmarkDetector:
    return LandmarkDetector()


@pytest.fixture(scope="module")
def astronaut() -> Item:
    return Item(ASTRONAUT.read_bytes())


def item(image: Image.Image) -> Item:
    file = BytesIO()
    image.save(file, "PNG")
    return Item(file.getvalue())


def faces(outcome: Outcome) -> Faces:
    assert isinstance(outcome, Faces)
    return outcome


def test_the_astronaut_has_one_face_where_it_always_was(detector: LandmarkDetector, astronaut: Item) -> None:
    found = faces(detector.detect([astronaut])[0])

    assert found.image_wh == (512, 512)
    assert found.points_xy.shape == (1, 478, 2)
    assert found.boxes_xywh[0].tolist() == pytest.approx(BOX, abs=TOLERANCE_PX)
    assert found.confidences.tolist() == pytest.approx([0.911], abs=0.03)


@pytest.mark.parametrize(("index", "place"), POINTS.values(), ids=POINTS.keys())
def test_a_point_of_the_mesh_is_where_it_always_was(
    detector: LandmarkDetector, astronaut: Item, index: int, place: tuple[float, float]
) -> None:
    found = faces(detector.detect([astronaut])[0])

    assert found.points_xy[0, index].tolist() == pytest.approx(place, abs=TOLERANCE_PX)


def test_the_box_is_the_one_around_the_points(detector: LandmarkDetector, astronaut: Item) -> None:
    found = faces(detector.detect([astronaut])[0])

    x, y, w, h = found.boxes_xywh[0].tolist()
    assert [x, y] == pytest.approx(found.points_xy[0].min(axis=0).tolist())
    assert [x + w, y + h] == pytest.approx(found.points_xy[0].max(axis=0).tolist(), abs=0.01)


def test_a_photo_decoded_smaller_has_its_points_in_its_own_pixels(detector: LandmarkDetector) -> None:
    file = BytesIO()
    with Image.open(ASTRONAUT) as image:
        image.resize((4096, 4096), Image.Resampling.BICUBIC).save(file, "JPEG")

    found = faces(detector.detect([Item(file.getvalue())])[0])

    assert found.image_wh == (4096, 4096)
    assert found.boxes_xywh[0].tolist() == pytest.approx([side * 8 for side in BOX], abs=TOLERANCE_PX * 8)


@pytest.mark.parametrize("size", [(300, 200), (1, 1), (2000, 1), (1, 3000)], ids=str)
def test_a_blank_image_has_no_faces(detector: LandmarkDetector, size: tuple[int, int]) -> None:
    found = faces(detector.detect([item(Image.new("RGB", size, "grey"))])[0])

    assert found.image_wh == size
    assert len(found) == 0
    assert found.points_xy.shape == (0, 478, 2)


def test_the_larger_of_two_faces_comes_first(detector: LandmarkDetector) -> None:
    with Image.open(ASTRONAUT) as image:
        pair = Image.new("RGB", (900, 512), "grey")
        pair.paste(image.resize((340, 340)), (0, 86))
        pair.paste(image, (388, 0))

    found = faces(detector.detect([item(pair)])[0])

    large = [BOX[0] + 388, *BOX[1:]]
    small = [BOX[0] * 340 / 512, BOX[1] * 340 / 512 + 86, BOX[2] * 340 / 512, BOX[3] * 340 / 512]
    assert len(found) == 2
    assert found.boxes_xywh[0].tolist() == pytest.approx(large, abs=2 * TOLERANCE_PX)
    assert found.boxes_xywh[1].tolist() == pytest.approx(small, abs=2 * TOLERANCE_PX)


def test_a_broken_image_fails_alone(detector: LandmarkDetector, astronaut: Item) -> None:
    broken = Item(astronaut.image[: len(astronaut.image) // 2])

    first, second, third, fourth = detector.detect([astronaut, broken, Item(b"no image"), astronaut])

    assert len(faces(first)) == 1
    assert isinstance(second, Failure)
    assert second.code == "image_broken"
    assert isinstance(third, Failure)
    assert third.code == "image_format_unsupported"
    assert len(faces(fourth)) == 1


def test_a_batch_gives_what_its_images_give_alone(detector: LandmarkDetector, astronaut: Item) -> None:
    with Image.open(ASTRONAUT) as image:
        pair = Image.new("RGB", (1024, 512))
        pair.paste(image, (0, 0))
        pair.paste(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (512, 0))
        items = [
            astronaut,
            item(pair),
            item(Image.new("RGB", (64, 48), "white")),
            item(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
            item(image.crop((100, 0, 400, 301))),
            item(image.convert("L")),
        ] * 3

    batch = [faces(outcome) for outcome in detector.detect(items)]

    assert [len(found) for found in batch[:6]] == [1, 2, 0, 1, 1, 1]
    for one, together in zip(items, batch, strict=True):
        alone = faces(detector.detect([one])[0])
        assert together.image_wh == alone.image_wh
        np.testing.assert_allclose(together.points_xy, alone.points_xy, atol=SAME_PX)
        np.testing.assert_allclose(together.confidences, alone.confidences, atol=0.001)


def test_a_batch_of_nothing_is_nothing(detector: LandmarkDetector) -> None:
    assert detector.detect([]) == []


def test_nothing_is_written_at_the_start_nor_at_the_first_face(
    capfd: pytest.CaptureFixture[str], astronaut: Item
) -> None:
    LandmarkDetector().detect([astronaut])

    assert capfd.readouterr() == ("", "")


def test_a_failed_graph_fails_its_batch_and_is_made_anew(astronaut: Item, caplog: pytest.LogCaptureFixture) -> None:
    detector = LandmarkDetector()
    detector._graph._detect_time -= 1  # a time that does not grow makes the real graph fail

    outcomes = detector.detect([astronaut, astronaut])

    assert [outcome.code for outcome in outcomes if isinstance(outcome, Failure)] == ["inference_failed"] * 2
    assert "made anew" in caplog.text
    assert len(faces(detector.detect([astronaut])[0])) == 1


def test_large_images_beside_it_leave_a_face_found(astronaut: Item, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runners.landmarks.MAX_PIXELS_IN_FLIGHT", 1_000_000)  # so that a batch is worked off in parts
    detector = LandmarkDetector()
    large = item(Image.new("RGB", (3000, 3000)))

    outcomes = detector.detect([large, astronaut, large, astronaut, astronaut])

    assert [len(faces(outcome)) for outcome in outcomes] == [0, 1, 0, 1, 1]


def test_a_crash_halfway_leaves_no_faces_behind_for_the_next_batch(
    astronaut: Item, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = LandmarkDetector()
    real, packets = FaceGraph.packet, []

    def run_out_of_memory(image_rgb: NDArray[np.uint8]) -> Any:
        packets.append(real(image_rgb))
        if len(packets) == 2:
            raise MemoryError
        return packets[-1]

    with monkeypatch.context() as patched:
        patched.setattr(FaceGraph, "packet", run_out_of_memory)
        outcomes = detector.detect([astronaut, astronaut])
    assert [outcome.code for outcome in outcomes if isinstance(outcome, Failure)] == ["inference_failed"] * 2

    blank = item(Image.new("RGB", (64, 64)))
    assert [len(faces(outcome)) for outcome in detector.detect([blank, astronaut])] == [0, 1]
