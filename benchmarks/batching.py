"""Measure what a batch saves the landmark model: python -m benchmarks.batching [--rounds N]."""

import argparse
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from runners.faces import Item
from runners.landmarks import LandmarkDetector

BATCH_SIZE = 8
TARGET_RATIO = 0.62

_IMAGE = Path(__file__).parents[1] / "examples" / "astronaut.jpg"


def main(argv: Sequence[str] | None = None) -> None:
    """Print the milliseconds an image takes alone and in a batch, measured in turns."""
    parser = argparse.ArgumentParser(prog="benchmarks.batching", description=__doc__)
    parser.add_argument("--rounds", metavar="N", type=int, default=60, help="pairs of measurements (default: 60)")
    rounds = parser.parse_args(argv).rounds

    detector = LandmarkDetector()
    item = Item(_IMAGE.read_bytes())
    for _ in range(3):
        _ms_per_image(detector, item, 1)
        _ms_per_image(detector, item, BATCH_SIZE)
    # In turns, so that whatever else the machine does falls on both; each turn is the same number of images.
    alone, batched = np.array(
        [(_ms_per_image(detector, item, 1), _ms_per_image(detector, item, BATCH_SIZE)) for _ in range(rounds)]
    ).T
    low, middle, high = np.percentile(batched / alone, [10, 50, 90])
    ratio = statistics.median(batched) / statistics.median(alone)
    print(f"batches of 1: {statistics.median(alone):.2f} ms per image (median of {rounds} rounds)")
    print(f"batches of {BATCH_SIZE}: {statistics.median(batched):.2f} ms per image")
    print(f"ratio of medians: {ratio:.2f} (target: at most {TARGET_RATIO})")
    print(f"ratios of the pairs: median {middle:.2f}, 10 % below {low:.2f}, 10 % above {high:.2f}")
    # A batch gains by a second core: a machine busy with other work shows no gain.
    print(f"load average: {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores")


def _ms_per_image(detector: LandmarkDetector, item: Item, batch_size: int) -> float:
    """Search BATCH_SIZE images in batches of ``batch_size``."""
    start = time.perf_counter()
    for _ in range(BATCH_SIZE // batch_size):
        detector.detect([item] * batch_size)
    return (time.perf_counter() - start) / BATCH_SIZE * 1e3


if __name__ == "__main__":
    main()
