# The standing gateway: testbed/gateway/standing.py (docs/standing.md).
# The build takes pip's own settings as arguments: --build-arg PIP_INDEX_URL=... where packages come from elsewhere.
ARG PYTHON_IMAGE=python:3.13-slim
FROM ${PYTHON_IMAGE}
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ARG PIP_CERT
COPY requirements-gateway.lock /
RUN python3 -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements-gateway.lock
RUN useradd --create-home testbed \
    && install --directory --owner testbed /var/log/testbed
COPY testbed /opt/testbed/testbed
USER testbed
WORKDIR /home/testbed
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/opt/testbed PYTHONUNBUFFERED=1 TESTBED_LOGS=/var/log/testbed
ENTRYPOINT ["python", "-m", "testbed.gateway.standing"]
