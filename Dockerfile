# Images for machines with Docker (kind, registries). Without Docker, hack/localcluster/images.py makes the same ones.
FROM debian:bookworm-slim AS base
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 python3-pip \
 && rm -rf /var/lib/apt/lists/*
ENV PYTHONPATH=/opt/generation PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /build
COPY requirements/operator.txt requirements/service.txt requirements/
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
COPY service service

FROM base AS operator
RUN python3 -m pip install --no-cache-dir --require-hashes --no-deps --target /opt/generation -r requirements/operator.txt \
 && python3 -m pip install --no-cache-dir --no-deps --target /opt/generation .
WORKDIR /tmp
USER 65532:65532
ENTRYPOINT ["python3", "-m", "generation_operator"]

FROM base AS service
RUN python3 -m pip install --no-cache-dir --require-hashes --no-deps --target /opt/generation -r requirements/service.txt \
 && python3 -m pip install --no-cache-dir --no-deps --target /opt/generation .
WORKDIR /tmp
USER 65532:65532
ENTRYPOINT ["python3", "-m", "generation_service"]

FROM debian:bookworm-slim AS proxy
RUN apt-get update && apt-get install --yes --no-install-recommends nginx-light && rm -rf /var/lib/apt/lists/*
USER 65532:65532
ENTRYPOINT ["nginx", "-g", "daemon off;"]
