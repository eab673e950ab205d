"""The model: images to features, features to words; pure, with no files or flags."""

__all__: list[str] = []
