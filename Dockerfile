# The service alone in a small image: no shell, no package manager, not root.
# docker build -t ussd-status .        then compose.yaml, or:
# docker run -e MASTER_KEY -v ussd-status:/data -p 127.0.0.1:8080:8080 ussd-status

FROM rust:1-slim-bookworm AS build
# aws-lc and SQLite are compiled from C.
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev make cmake perl \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin ussd-status \
    && cp target/release/ussd-status /usr/local/bin/ussd-status \
    && mkdir data

# glibc, the certificate authorities and a user; 65532 is that image's "nonroot".
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /usr/local/bin/ussd-status /usr/local/bin/ussd-status
# Where SQLite's file goes, unless DATABASE_URL says otherwise.
COPY --from=build --chown=65532:65532 /build/data /data
USER 65532:65532
WORKDIR /data
ENV LISTEN_ADDR=0.0.0.0:8080 \
    DATABASE_URL=sqlite:///data/ussd-status.db \
    LOG_FORMAT=json
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["/usr/local/bin/ussd-status", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/ussd-status"]
CMD ["serve"]
