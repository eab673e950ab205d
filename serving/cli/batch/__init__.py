"""imgcap-caption-batch: captions of any number of images, by workers of Apache Beam."""
