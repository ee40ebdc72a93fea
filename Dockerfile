# Millpond without nginx; docker-compose.yml adds nginx in front.
FROM rust:1.95-bookworm AS build
WORKDIR /build
# Debug sections are three quarters of the binary. Symbols stay, so backtraces still name functions.
ENV CARGO_PROFILE_RELEASE_STRIP=debuginfo

# The dependencies have their own layer, which is rebuilt only if one of these files changes. Cargo
# needs the other workspace member and the benchmarks, but does not build them.
COPY Cargo.toml Cargo.lock ./
COPY fuzz/Cargo.toml fuzz/
COPY benches/*.rs benches/
RUN mkdir src \
    && echo 'fn main() {}' >src/main.rs \
    && touch src/lib.rs \
    && cargo build --locked --release

# Cargo compares modification times, and a checkout can be older than the layer above.
COPY src src
# The documentation and what it links to are part of the binary.
COPY *.md ./
COPY docs docs
COPY benches/RESULTS.md benches/
COPY config config
COPY nginx nginx
RUN touch src/main.rs src/lib.rs \
    && cargo build --locked --release

FROM debian:bookworm-slim
# A named volume inherits the owner of its mount point, so the folders are created here.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 millpond \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/millpond --shell /usr/sbin/nologin millpond \
    && install -d -o millpond -g millpond /var/lib/millpond /var/lib/millpond/cache /var/lib/millpond/state
COPY --from=build /build/target/release/millpond /usr/local/bin/
COPY config/compose.toml /etc/millpond/
USER 10001:10001
WORKDIR /var/lib/millpond
EXPOSE 8080 3128
HEALTHCHECK --interval=10s --timeout=10s --start-period=30s --retries=3 \
    CMD ["millpond", "doctor", "--gateway", "http://127.0.0.1:8080"]
ENTRYPOINT ["millpond"]
CMD ["serve", "--config", "/etc/millpond/compose.toml"]
