"""What stands between the wire and the runners: settings, errors, images, the batcher."""
