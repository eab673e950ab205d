"""What becomes of captions: lines, JSON, CSV, alternative texts, and files that go on."""
