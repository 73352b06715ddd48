# A Tutti node. Two stages: compilers stay in the first one.
#   docker build -t tutti .
#   docker run -v tutti:/data -p 4101:4101 tutti
# Not yet built by anyone: the machine it was written on has no Docker engine.

FROM python:3.11-slim-bookworm AS build
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends g++ make cmake libgmp-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# The same set-up as on a desk, so that the image has the same locked packages and the same trimmed llama.cpp.
# The environment is then made anew under its final path and without the checks' tools.
RUN contrib/setup/run dev \
    && for wheels in $(contrib/setup/run wheels); do cp "$wheels"/*.whl /tmp/; done \
    && .venv/bin/python -m hatchling build -t wheel -d /tmp \
    && sed -e 's/ *\\$//' -e '/^ *--hash/d' requirements.lock > /tmp/versions.txt \
    && python -m venv /opt/tutti \
    && /opt/tutti/bin/pip install --no-cache-dir -c /tmp/versions.txt /tmp/*.whl

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="tutti" \
      org.opencontainers.image.description="A node of a peer-to-peer network of small language models" \
      org.opencontainers.image.licenses="Apache-2.0"
# libgmp: fastecdsa; libgomp: llama.cpp's threads; tini: the first process must reap the model's workers.
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends libgmp10 libgomp1 tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home tutti \
    && install -d -o tutti -g tutti -m 0700 /data
COPY --from=build /opt/tutti /opt/tutti
ENV PATH=/opt/tutti/bin:$PATH TUTTI_HOME=/data PYTHONUNBUFFERED=1
USER 1000
VOLUME /data
# Only the port that peers dial. The API stays on loopback, inside.
EXPOSE 4101/tcp
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["tutti", "status", "--json"]
ENTRYPOINT ["tini", "--", "tutti"]
CMD ["run", "--listen", "/ip4/0.0.0.0/tcp/4101"]
