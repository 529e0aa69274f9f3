"""The models. They take encoded images and return frozen dataclasses of arrays; they never see HTTP."""
