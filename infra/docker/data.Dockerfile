# Image of the data job on CPUs; every Ray node and every submitter runs it.
#
#   docker build -f infra/docker/data.Dockerfile -t unihand-data:0.1.0 .
#
# The base is a tag. A build that must be repeatable bit by bit gives the digest that its own registry shows for it:
#   docker build --build-arg PYTHON_IMAGE=python:3.11.13-slim-bookworm@sha256:<digest> ...
ARG PYTHON_IMAGE=python:3.11.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /opt/unihand
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
COPY constraints.txt ./
COPY packages/unihand_data packages/unihand_data
RUN pip install --no-cache-dir -c constraints.txt './packages/unihand_data[pipelines]'

FROM ${PYTHON_IMAGE}
# libgl1, libegl1, libgles2: MediaPipe and OpenCV load them. wget: KubeRay's health probes call it.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libegl1 libgles2 libglib2.0-0 wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 unihand
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    OMP_NUM_THREADS=1
WORKDIR /opt/unihand
COPY constraints.txt ./
COPY pipelines pipelines
USER unihand
# The hand models come with the MediaPipe wheel and are unpacked once, here, not in every worker.
RUN python -m unihand_data.hands.models
CMD ["python", "pipelines/human_video.py", "--help"]
