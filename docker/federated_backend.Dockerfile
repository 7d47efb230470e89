# The backend: web UI and API; by another command also the aggregator, the launcher, migrations and the operator.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS packages
COPY requirements/backend.txt docker/packages.sh /build/
RUN sh /build/packages.sh /build/backend.txt

FROM ${BASE_IMAGE} AS digits
COPY requirements/inject.txt docker/digits.sh /build/
RUN sh /build/digits.sh /build/inject.txt /digits

FROM packages AS code
COPY pyproject.toml docker/code.sh /build/
COPY mainstem /opt/mainstem/app/mainstem
COPY inject_scripts /opt/mainstem/app/inject_scripts
COPY backend /opt/mainstem/app/backend
COPY --from=digits /digits /opt/mainstem/app/inject_scripts
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
EXPOSE 8000 9464
CMD ["python", "-m", "gunicorn", "-c", "python:backend.project.gunicorn", "backend.project.wsgi:application"]
HEALTHCHECK --start-period=10m CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/api/health/', timeout=5)"]
ARG VERSION=0 REVISION=unknown
LABEL org.opencontainers.image.title="federated_backend" \
      org.opencontainers.image.description="Mainstem: web UI, API, aggregator, launcher" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
