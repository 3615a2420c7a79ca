# The server alone, for Linux: built with Debian's libc, run without a shell and not as root.
FROM rust:1.95-slim-bookworm AS build
# The image's own toolchain, rather than rust-toolchain.toml's with its lints and formatter.
ENV RUSTUP_TOOLCHAIN=1.95.0
RUN apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --locked --release -p channelstream-server \
    && strip -o /channelstream-server target/release/channelstream-server

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /channelstream-server /usr/local/bin/channelstream-server
# Inside a container, only the container reaches 127.0.0.1. With the default secrets the server refuses this
# address: set CHANNELSTREAM_SECRET and CHANNELSTREAM_ADMIN_SECRET, or the same with _FILE.
ENV CHANNELSTREAM_HOST=0.0.0.0
EXPOSE 8000
HEALTHCHECK CMD ["/usr/local/bin/channelstream-server", "health"]
ENTRYPOINT ["/usr/local/bin/channelstream-server"]
