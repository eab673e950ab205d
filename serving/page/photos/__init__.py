"""Where photographs come from: uploads, the camera, samples; and their thumbnails."""
