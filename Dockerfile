# Images of sensequant: `cpu` (default of `make image`) and `gpu`, the same with LightGBM for CUDA.
# Every package comes from a lock with hashes.

FROM python:3.11-slim-trixie AS build
WORKDIR /build
COPY requirements-uv.lock requirements.lock ./
RUN python -m pip install --no-cache-dir --require-hashes --requirement requirements-uv.lock \
    && python -m venv --without-pip /opt/sensequant \
    && uv pip install --no-cache --python /opt/sensequant/bin/python --compile-bytecode \
        --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md requirements-dev.lock ./
COPY sensequant sensequant
COPY flows flows
COPY tasks tasks
COPY blocks blocks
COPY deployments deployments
RUN uv pip install --no-cache --python /opt/sensequant/bin/python --no-deps \
    --build-constraint requirements-dev.lock .

FROM python:3.11-slim-trixie AS cpu
# LightGBM needs the OpenMP runtime of the system.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home sensequant \
    && install --directory --owner sensequant --group sensequant /data
COPY --from=build /opt/sensequant /opt/sensequant
ENV PATH=/opt/sensequant/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SENSEQUANT_HOME=/data
VOLUME /data
WORKDIR /data
USER sensequant
ENTRYPOINT ["sensequant"]

# The wheel on the registry has no CUDA; the locked source is built with it. The image's C library
# must not be newer than that of the runtime image.
FROM nvidia/cuda:12.8.1-devel-ubuntu24.04 AS lightgbm-cuda
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        build-essential cmake ninja-build python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/build
WORKDIR /build
COPY requirements.lock ./
RUN awk '/^lightgbm==/ { inside = 1 } inside { print } inside && !/\\$/ { exit }' \
        requirements.lock > lightgbm.lock \
    && /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-binary lightgbm --require-hashes \
        --config-settings=cmake.define.USE_CUDA=ON --wheel-dir /wheels \
        --requirement lightgbm.lock

FROM cpu AS gpu
USER root
COPY --from=lightgbm-cuda /wheels /wheels
COPY --from=lightgbm-cuda /usr/local/cuda/lib64/libcudart.so.12 /usr/local/lib/
COPY --from=build /usr/local/bin/uv /usr/local/bin/uv
RUN ldconfig \
    && uv pip install --no-cache --python /opt/sensequant/bin/python --no-deps --no-index \
        --reinstall /wheels/*.whl \
    && rm -rf /wheels /usr/local/bin/uv
# The container toolkit mounts the driver that these ask for.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER sensequant
