from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from benchmarks import quality
from benchmarks.labels import read_labels
from benchmarks.quality import Matching, Quality, inner_error, ious, match, measure

FACES = Path(__file__).parents[2].parent / "shared" / "faces"
needs_faces = pytest.mark.skipif(not FACES.is_dir(), reason=f"the labelled photos are not there: {FACES}")


@pytest.fixture(scope="module")
def figures() -> Quality:
    return measure(FACES)


@needs_faces
def test_the_landmark_model_finds_the_labelled_faces_and_no_others(figures: Quality) -> None:
    assert figures.landmarks_recall >= 0.94
    assert figures.landmarks_precision == 1


@needs_faces
def test_the_inner_points_are_near_the_labelled_ones(figures: Quality) -> None:
    assert figures.inner_error <= 0.052


@needs_faces
def test_haar_finds_most_labelled_faces_and_few_others(figures: Quality) -> None:
    assert figures.haar_recall >= 0.83
    assert figures.haar_precision >= 0.93


@needs_faces
def test_every_photo_is_drawn_for_both_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quality.main([str(FACES), "--overlay", str(tmp_path / "overlay")])

    assert capsys.readouterr().out.startswith("| 18 faces on 4 photos | recall | precision |")
    names = {photo.path.stem for photo in read_labels(FACES)}
    drawn = {path.name for path in (tmp_path / "overlay").iterdir()}
    assert drawn == {f"{name}.{model}.png" for name in names for model in ("landmarks", "haar")}


def test_the_best_overlap_is_paired_first_and_each_box_once() -> None:
    labelled = np.array([(0, 0, 10, 10), (100, 0, 10, 10), (200, 0, 10, 10)])
    found = np.array([(2, 0, 10, 10), (1, 0, 10, 10), (100, 0, 10, 10), (300, 0, 10, 10)])

    assert match(found, labelled) == Matching(pairs=((2, 1), (1, 0)), invented=(0, 3), missed=(2,))


@pytest.mark.parametrize(
    ("shift", "pairs"),
    [
        pytest.param(42, ((0, 0),), id="just above the limit"),
        pytest.param(44, (), id="just below the limit"),
    ],
)
def test_boxes_that_overlap_too_little_are_no_pair(shift: int, pairs: Iterable[tuple[int, int]]) -> None:
    # Shifted by s of 100, two equal boxes overlap by (100 - s) / (100 + s): 0.4 at 42.9.
    assert match(np.array([(shift, 0, 100, 100)]), np.array([(0, 0, 100, 100)])).pairs == pairs


def test_without_boxes_nothing_is_paired() -> None:
    one, none = np.array([(0, 0, 10, 10)]), np.zeros((0, 4))

    assert match(none, one) == Matching((), (), (0,))
    assert match(one, none) == Matching((), (0,), ())
    assert match(none, none) == Matching((), (), ())


def test_the_overlap_is_the_common_area_over_the_whole() -> None:
    overlaps = ious(
        np.array([(0, 0, 10, 10), (20, 20, 0, 0)]), np.array([(0, 0, 10, 10), (5, 0, 10, 10), (50, 0, 1, 1)])
    )

    assert overlaps.tolist() == [pytest.approx([1, 1 / 3, 0]), [0, 0, 0]]


def test_the_error_counts_the_inner_points_in_eye_distances() -> None:
    labelled = np.zeros((68, 2))
    labelled[36], labelled[45] = (0, 0), (50, 0)
    found = labelled.copy()
    found[:17] += 1000  # the jaw does not count
    found[17:] += (3, 4)

    assert inner_error(found, labelled) == pytest.approx(5 / 50)


def _labels(folder: Path, points: int = 68, name: str = "a.jpg") -> None:
    parts = "".join(f"<part name='{number:02}' x='{number}' y='{number * 2}'/>" for number in range(points))
    box = f"<box top='2' left='1' width='3' height='4'>{parts}</box>"
    (folder / "labels.xml").write_text(
        f"<?xml version='1.0'?><dataset><images><image file='{name}'>{box}</image></images></dataset>"
    )


def test_labels_are_read_as_left_top_width_height_and_68_points(tmp_path: Path) -> None:
    _labels(tmp_path)
    (tmp_path / "a.jpg").touch()

    (photo,) = read_labels(tmp_path)

    assert photo.path == tmp_path / "a.jpg"
    assert photo.faces[0].box_xywh.tolist() == [1, 2, 3, 4]
    assert photo.faces[0].points_xy.tolist() == [[number, number * 2] for number in range(68)]


def test_a_listed_photo_that_does_not_exist_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _labels(tmp_path, name="gone.jpg")

    with pytest.raises(SystemExit) as ended:
        quality.main([str(tmp_path)])

    assert ended.value.code == 1
    assert "gone.jpg" in capsys.readouterr().err


def test_a_face_without_all_its_points_is_an_error(tmp_path: Path) -> None:
    _labels(tmp_path, points=67)
    (tmp_path / "a.jpg").touch()

    with pytest.raises(ValueError, match=r"a\.jpg: a face has 67 points"):
        read_labels(tmp_path)


def test_a_photo_that_is_no_image_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _labels(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"no image")

    with pytest.raises(SystemExit):
        quality.main([str(tmp_path)])

    assert "a.jpg" in capsys.readouterr().err
