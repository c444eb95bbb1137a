# The operator, the libraries of C that it is linked with, and nothing else: no shell, no package manager.

# Pinned by digest: a tag can be moved. Dependabot proposes newer ones.
FROM rust:1.95-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1 AS build
# aws-lc-rs compiles its C code with cmake where it has no ready build for a platform.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends cmake \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin postern \
    && cp target/release/postern /postern
RUN mkdir /image \
    && cp /postern /image/ \
    && ldd /postern | grep --only-matching '/[^ ]*' | xargs cp --dereference --parents --target-directory=/image

FROM scratch
COPY --from=build /image /
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 8443 8081 9090
ENTRYPOINT ["/postern"]
# Both parts in one process; the chart says `serve` and `control`.
CMD ["run"]
