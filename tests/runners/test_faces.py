import numpy as np
import pytest

from runners.faces import Faces

WH = (640, 480)


def _boxes(*boxes: tuple[float, float, float, float]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.array(boxes, np.float32).reshape(-1, 4)


def test_the_largest_face_comes_first_with_its_own_confidence_and_points() -> None:
    points = np.arange(3, dtype=np.float32)[:, None, None].repeat(478, axis=1).repeat(2, axis=2)

    faces = Faces.largest_first(
        WH, _boxes((0, 0, 10, 10), (50, 0, 30, 30), (90, 0, 20, 20)), np.array([0.1, 0.3, 0.2], np.float32), points
    )

    assert faces.boxes_xywh[:, 2].tolist() == [30, 20, 10]
    assert faces.confidences.tolist() == pytest.approx([0.3, 0.2, 0.1])
    assert faces.points_xy[:, 0, 0].tolist() == [1, 2, 0]


def test_faces_of_one_area_are_ordered_from_the_left_and_then_from_the_top() -> None:
    faces = Faces.largest_first(
        WH, _boxes((50, 9, 10, 10), (50, 3, 20, 5), (7, 80, 5, 20)), np.array([0.1, 0.2, 0.3], np.float32)
    )

    assert faces.boxes_xywh[:, :2].tolist() == [[7, 80], [50, 3], [50, 9]]


def test_the_order_does_not_depend_on_the_order_found() -> None:
    rng = np.random.default_rng(1)
    boxes = rng.integers(1, 4, (30, 4)).astype(np.float32)
    boxes = np.unique(boxes, axis=0)
    confidences = rng.random(len(boxes)).astype(np.float32)
    expected = Faces.largest_first(WH, boxes, confidences)

    for _ in range(20):
        shuffled = rng.permutation(len(boxes))
        faces = Faces.largest_first(WH, boxes[shuffled], confidences[shuffled])
        areas_and_places = [(-w * h, x, y) for x, y, w, h in faces.boxes_xywh.tolist()]
        assert areas_and_places == sorted(areas_and_places)
        assert areas_and_places == [(-w * h, x, y) for x, y, w, h in expected.boxes_xywh.tolist()]


def test_equal_faces_keep_the_order_found() -> None:
    faces = Faces.largest_first(WH, _boxes(*[(5, 5, 9, 9)] * 3), np.array([0.1, 0.3, 0.2], np.float32))

    assert faces.confidences.tolist() == pytest.approx([0.1, 0.3, 0.2])


def test_a_model_without_points_gives_none_for_each_face() -> None:
    faces = Faces.largest_first(WH, _boxes((0, 0, 1, 1), (1, 1, 2, 2)), np.ones(2, np.float32))

    assert faces.points_xy.shape == (2, 0, 2)


def test_no_faces_are_arrays_of_no_rows() -> None:
    faces = Faces.largest_first(WH, np.zeros(0, np.float32), np.zeros(0, np.float32))

    assert len(faces) == 0
    assert faces.image_wh == WH
    assert faces.boxes_xywh.shape == (0, 4)
    assert faces.confidences.shape == (0,)
    assert faces.points_xy.shape == (0, 0, 2)
