# Images of what runs in bulk. Not built here: no Docker engine was at hand.
#   docker build -t imgcap-train .                   training, with NVIDIA GPUs or without: configs/train_job.yaml, train.slurm
#   docker build -t imgcap-beam --target=beam .      workers of Apache Beam: preparing, captioning (docs/train/scale.md)
# The page has an image of its own: serving/deployment/Dockerfile.app.
FROM python:3.12-slim AS wheel
WORKDIR /source
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY configs configs
COPY imgcap imgcap
COPY export export
COPY serving serving
RUN pip wheel --no-cache-dir --no-deps --wheel-dir=/wheels .

# Python and Beam must be of the versions that the pipeline is started with; [gcp] is what Dataflow and
# gs:// need (for s3:// add aws). As Beam's own images it runs as root, since its boot makes a virtual
# environment for each worker.
FROM python:3.12-slim AS beam
COPY --from=apache/beam_python3.12_sdk:2.77.0 /opt/apache/beam /opt/apache/beam
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    pip install --no-cache-dir "$(echo /wheels/*.whl)[train,beam]" 'apache-beam[gcp]==2.77.0'
ENTRYPOINT ["/opt/apache/beam/boot"]

# Last, so that a plain build makes it. CUDA comes with TensorFlow's wheels; the driver is the host's.
FROM python:3.12-slim AS train
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    pip install --no-cache-dir "$(echo /wheels/*.whl)[gpu]"
RUN useradd --create-home --uid=1000 imgcap
WORKDIR /home/imgcap
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PYTHONDONTWRITEBYTECODE=1
# By number: Kubernetes cannot tell of a name that it is not root.
USER 1000
CMD ["imgcap-train", "--help"]
