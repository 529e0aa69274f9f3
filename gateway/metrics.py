"""The service's own metrics, beside BentoML's at ``/metrics``."""

from prometheus_client import Histogram

BATCH_ITEMS = Histogram(
    name="facebento_batch_items",
    documentation="Images in one call to a runner",
    labelnames=["runner"],
    buckets=(1, 2, 4, 8, 16, 32),
)
