# The server alone, for Linux: built with Debian's libc, run without a shell and not as root.
FROM rust:1.95-slim-bookworm AS build
# The image's own toolchain, rather than rust-toolchain.toml's with its lints and formatter.
ENV RUSTUP_TOOLCHAIN=1.95.0
RUN apt-get update && apt-get install -y --no-install-recommends make procps && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo xtask guided \
    && strip -o /channelstream-server target/guided/channelstream-server \
    && install -d -m 0700 /journal

FROM gcr.io/distroless/cc-debian12:nonroot
ARG VERSION=0.1.0
ARG REVISION=""
LABEL org.opencontainers.image.title="channelstream" \
      org.opencontainers.image.description="Real-time push server with channels, presence, state and history" \
      org.opencontainers.image.licenses="BSD-3-Clause" \
      org.opencontainers.image.source="https://github.com/channelstream/channelstream" \
      org.opencontainers.image.documentation="https://github.com/channelstream/channelstream/blob/main/docs/operations.md" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /channelstream-server /usr/local/bin/channelstream-server
# Inside a container, only the container reaches 127.0.0.1. With the default secrets the server refuses this
# address: set CHANNELSTREAM_SECRET and CHANNELSTREAM_ADMIN_SECRET, or the same with _FILE.
ENV CHANNELSTREAM_HOST=0.0.0.0
EXPOSE 8000
# For CHANNELSTREAM_JOURNAL=file and CHANNELSTREAM_JOURNAL_DIR=/var/lib/channelstream. A new volume has its owner and mode.
COPY --from=build --chown=65532:65532 /journal /var/lib/channelstream
VOLUME /var/lib/channelstream
HEALTHCHECK CMD ["/usr/local/bin/channelstream-server", "health"]
ENTRYPOINT ["/usr/local/bin/channelstream-server"]
