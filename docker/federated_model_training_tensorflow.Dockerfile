# The training Job with Keras on TensorFlow; by another command the workshop that builds and checks models.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS packages
COPY requirements/training.txt docker/packages.sh /build/
RUN sh /build/packages.sh /build/training.txt

FROM packages AS code
COPY pyproject.toml docker/code.sh /build/
COPY mainstem /opt/mainstem/app/mainstem
COPY federated_training /opt/mainstem/app/federated_training
RUN sh /build/code.sh

FROM ${BASE_IMAGE} AS base
COPY docker/base.sh /build/
RUN sh /build/base.sh && rm -rf /build

FROM scratch
COPY --from=base / /
COPY --from=packages /opt/mainstem /opt/mainstem
COPY --from=code /opt/mainstem/app /opt/mainstem/app
ENV PATH=/opt/mainstem/bin:/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp
WORKDIR /opt/mainstem/app
USER 10001:10001
CMD ["python", "-m", "federated_training"]
ARG VERSION=0 REVISION=unknown
LABEL org.opencontainers.image.title="federated_model_training_tensorflow" \
      org.opencontainers.image.description="Mainstem: a training Job, and the workshop that checks models" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
