"""Tools that measure: quality on labelled photos, the gain of batches, and a lone caller's time around a burst."""
