# The logger that carries control records into the backend.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS packages
COPY requirements/loggers.txt docker/packages.sh /build/
RUN sh /build/packages.sh /build/loggers.txt

FROM packages AS code
COPY pyproject.toml docker/code.sh /build/
COPY mainstem /opt/mainstem/app/mainstem
COPY control_logger /opt/mainstem/app/control_logger
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
EXPOSE 9464
CMD ["python", "-m", "control_logger"]
ARG VERSION=0 REVISION=unknown
LABEL org.opencontainers.image.title="federated_model_control_logger" \
      org.opencontainers.image.description="Mainstem: carries control records into the backend" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
