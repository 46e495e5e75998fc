# A static submitd in an empty image: no shell, no libc, no package manager; its own user, and a root
# that may be read-only. How to run it, alone and beside an application: docs/operations.md.
#
#   docker build -t submitd .

FROM docker.io/library/rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
# Built for the machine it runs on, so that arm64 needs nothing but `--platform linux/arm64`. The target
# is spelled out although it is the host's own: only then do the flags leave build scripts and procedural
# macros alone, which cannot be static.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    target="$(rustc -vV | sed -n 's/^host: //p')" && \
    RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked --target "$target" && \
    scripts/container-root "target/$target/release/submitd" /out

# scripts/test-container builds from here on, with the same files.
FROM scratch
COPY --from=build /out/image/ /
# A new volume takes its owner and mode, 0700, from here.
COPY --from=build --chown=65532:65532 /out/state/ /var/lib/
ENV SUBMITD_STATE_DIR=/var/lib/submitd TMPDIR=/var/lib/submitd
USER 65532:65532
VOLUME ["/var/lib/submitd"]
EXPOSE 2525
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s CMD ["/submitd", "health"]
ENTRYPOINT ["/submitd"]
CMD ["run"]
