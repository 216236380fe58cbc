# The image: the program, the C library, the authorities that clients trust, and nothing else.
#
#   docker build -t s3proxy .        or: buildah bud -t s3proxy .
#
# `image/build` does the same without a daemon, and can put an already compiled program into the
# last stage. The image has no shell, and no file that a process may write.
ARG BUILDER=docker.io/library/rust:1.95-slim-bookworm

FROM ${BUILDER} AS system
COPY image/system /image/system
RUN /image/system /out

FROM ${BUILDER} AS program
RUN { command -v python3 && command -v make; } >/dev/null || \
    { apt-get -qq update && apt-get -qq install -y --no-install-recommends make python3; }
WORKDIR /s3proxy
COPY .cargo .cargo
COPY Cargo.lock Cargo.toml ./
COPY bench bench
COPY crates crates
COPY e2e/rust-client e2e/rust-client
COPY xtask xtask
COPY image/compile image/compile
ARG REVISION
ARG CREATED
RUN S3PROXY_COMMIT=$REVISION S3PROXY_COMMIT_DATE=$CREATED image/compile /out
COPY --from=system /out /system
COPY LICENSE ./
COPY release/inventory release/inventory
RUN release/inventory --system /system --binary /out/s3proxy /out/usr/share/doc/s3proxy

FROM scratch
COPY --from=system /out /
COPY --from=program /out /

ARG VERSION=development
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="s3proxy" \
      org.opencontainers.image.description="An encrypting proxy for S3" \
      org.opencontainers.image.licenses="Apache-2.0 AND GPL-3.0-or-later WITH GCC-exception-3.1 AND LGPL-2.1-or-later AND MPL-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"

ENV PATH=/
# A numeric user, so that Kubernetes can see that it is not root. Any other number works as well.
USER 1001:1001
EXPOSE 4433 9090
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 CMD ["/s3proxy", "health"]
ENTRYPOINT ["/s3proxy"]
# Without arguments, plain HTTP, like the older image. With arguments, HTTPS unless they say
# otherwise.
CMD ["--no-tls"]
