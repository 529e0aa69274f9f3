from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from schemas.classes import ClassTable, ibug_68
from schemas.v7 import BoundingBox, ClassEntry

LAYOUT = ibug_68()
TABLE = ClassTable.named(face="Gesicht", landmarks="Punkte")
MESH_NODES = 478
IMAGE_WH = (100, 50)
PARTS = {
    "jaw": 17,
    "right_brow": 5,
    "left_brow": 5,
    "nose_bridge": 4,
    "nose_tip": 5,
    "right_eye": 6,
    "left_eye": 6,
    "outer_lip": 12,
    "inner_lip": 8,
}
CLOSED = {"right_eye", "left_eye", "outer_lip", "inner_lip"}


def mesh(**points_xy: tuple[float, float]) -> NDArray[np.float32]:
    """Return a mesh in the middle of the image but for the given nodes of the skeleton."""
    mesh_xy = np.full((MESH_NODES, 2), (50, 25), np.float32)
    for name, point_xy in points_xy.items():
        mesh_xy[LAYOUT.mesh_indices[LAYOUT.nodes.index(name)]] = point_xy
    return mesh_xy


def test_the_nodes_are_ibugs_68_in_its_order() -> None:
    assert LAYOUT.nodes == tuple(f"{part}_{n:02}" for part, count in PARTS.items() for n in range(1, count + 1))
    assert (len(set(LAYOUT.nodes)), LAYOUT.nodes[0], LAYOUT.nodes[-1]) == (68, "jaw_01", "inner_lip_08")


def test_every_node_has_its_own_place_in_the_mesh() -> None:
    assert len(LAYOUT.mesh_indices) == len(set(LAYOUT.mesh_indices)) == len(LAYOUT.nodes)
    assert set(LAYOUT.mesh_indices) <= set(range(MESH_NODES))


@pytest.mark.parametrize("part", PARTS)
def test_the_edges_go_along_each_part_and_close_eyes_and_lips(part: str) -> None:
    chain = [name for name in LAYOUT.nodes if name.startswith(part)]
    ends = [(chain[-1], chain[0])] if part in CLOSED else []
    assert [edge for edge in LAYOUT.edges if edge[0].startswith(part)] == [*pairwise(chain), *ends]


def test_the_edges_join_nodes_that_exist() -> None:
    assert {name for edge in LAYOUT.edges for name in edge} == set(LAYOUT.nodes)
    assert len(LAYOUT.edges) == sum(PARTS.values()) - len(PARTS) + len(CLOSED)


def test_the_class_names_can_be_chosen() -> None:
    assert TABLE.face.entry() == ClassEntry(name="Gesicht", type="bounding_box")
    assert TABLE.landmarks.entry() == ClassEntry(name="Punkte", type="skeleton")
    box = TABLE.face.box(np.array([1, 2, 3, 4], np.float32), 1)
    skeleton = TABLE.landmarks.skeleton(mesh(), 1, IMAGE_WH)
    assert (box.name, box.label, skeleton.name, skeleton.label) == ("Gesicht", "Gesicht", "Punkte", "Punkte")


def test_a_box_is_rounded_to_hundredths() -> None:
    result = TABLE.face.box(np.array([-1.234, 5.678, 10.0049, 0.001], np.float32), 0.987654)
    assert result.bounding_box == BoundingBox(x=-1.23, y=5.68, w=10.0, h=0.0)
    assert result.confidence == 0.9877
    assert b'"x":-1.23,"y":5.68,"w":10.0,"h":0.0' in result.model_dump_json().encode()


def test_a_confidence_just_over_1_is_rounded_to_1() -> None:
    assert TABLE.face.box(np.zeros(4, np.float32), float(np.float32(1) + np.finfo(np.float32).eps)).confidence == 1


@pytest.mark.parametrize("confidence", [1.01, -0.01, float("nan")], ids=["over 1", "under 0", "NaN"])
def test_a_confidence_that_cannot_be_is_refused(confidence: float) -> None:
    with pytest.raises(ValidationError, match="confidence"):
        TABLE.face.box(np.zeros(4, np.float32), confidence)


def test_a_skeleton_has_every_node_of_its_class_in_order() -> None:
    mesh_xy = np.random.default_rng(0).uniform(0, 50, (MESH_NODES, 2)).astype(np.float32)
    result = TABLE.landmarks.skeleton(mesh_xy, 0.5, IMAGE_WH)
    assert result.skeleton is not None
    assert tuple(node.name for node in result.skeleton.nodes) == LAYOUT.nodes
    places = [(node.x, node.y) for node in result.skeleton.nodes]
    np.testing.assert_allclose(places, mesh_xy[list(LAYOUT.mesh_indices)], atol=0.00501)


@pytest.mark.parametrize(
    ("point_xy", "place", "occluded"),
    [
        pytest.param((12.3456, 3.4549), (12.35, 3.45), False, id="inside, rounded"),
        pytest.param((0, 0), (0, 0), False, id="on the top left corner"),
        pytest.param((100, 50), (100, 50), False, id="on the bottom right corner"),
        pytest.param((-0.001, 7), (0, 7), True, id="a little left of it"),
        pytest.param((-5.5, 7), (0, 7), True, id="left of it"),
        pytest.param((7, -5.5), (7, 0), True, id="above it"),
        pytest.param((100.5, 7), (100, 7), True, id="right of it"),
        pytest.param((7, 99), (7, 50), True, id="below it"),
        pytest.param((-1, 51), (0, 50), True, id="beyond a corner"),
    ],
)
def test_a_node_outside_of_the_image_is_occluded_and_moved_to_its_edge(
    point_xy: tuple[float, float], place: tuple[float, float], occluded: bool
) -> None:
    result = TABLE.landmarks.skeleton(mesh(left_eye_01=point_xy), 0.5, IMAGE_WH)
    assert result.skeleton is not None
    nodes = {node.name: node for node in result.skeleton.nodes}
    node = nodes.pop("left_eye_01")
    assert ((node.x, node.y), node.occluded) == (place, occluded)
    assert {(other.x, other.y, other.occluded) for other in nodes.values()} == {(50, 25, False)}


def test_a_node_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(ValidationError, match="finite"):
        TABLE.landmarks.skeleton(mesh(jaw_01=(float("nan"), 1)), 0.5, IMAGE_WH)


def test_the_mesh_is_left_as_it_was() -> None:
    mesh_xy = mesh(jaw_01=(-5, 500))
    TABLE.landmarks.skeleton(mesh_xy, 0.5, IMAGE_WH)
    np.testing.assert_array_equal(mesh_xy, mesh(jaw_01=(-5, 500)))


def test_a_class_of_boxes_makes_no_skeleton() -> None:
    with pytest.raises(TypeError, match="'Gesicht' is no skeleton"):
        TABLE.face.skeleton(mesh(), 0.5, IMAGE_WH)
