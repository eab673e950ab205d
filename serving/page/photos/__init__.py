"""Where photographs come from: uploads, archives, the camera, samples; and their thumbnails."""
