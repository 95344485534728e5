# syntax=docker/dockerfile:1
# The service:            docker build -t sluice-service .
# The load generator:     docker build -t sluice-loadgen --target loadgen .
# `--build-arg SLUICE_GIT_COMMIT=$(git rev-parse HEAD)` says which commit it is.
FROM node:22-bookworm-slim AS pages
WORKDIR /source/service/dashboard
COPY service/dashboard/package.json service/dashboard/package-lock.json service/dashboard/.npmrc ./
RUN npm ci
COPY service/dashboard .
RUN npm run build

# All crates that others have written. This layer is built anew when a manifest or the lock file changes, and not when a source does.
FROM rust:1.95-bookworm AS crates
WORKDIR /source
COPY Cargo.toml Cargo.lock ./
COPY snapshot/Cargo.toml snapshot/
COPY service/Cargo.toml service/
COPY loadgen/plan/Cargo.toml loadgen/plan/
COPY loadgen/record/Cargo.toml loadgen/record/
COPY loadgen/drive/Cargo.toml loadgen/drive/
COPY loadgen/call/Cargo.toml loadgen/call/
COPY loadgen/conduct/Cargo.toml loadgen/conduct/
COPY loadgen/observe/Cargo.toml loadgen/observe/
COPY loadgen/judge/Cargo.toml loadgen/judge/
COPY loadgen/report/Cargo.toml loadgen/report/
COPY loadgen/cli/Cargo.toml loadgen/cli/
COPY testbed/Cargo.toml testbed/
COPY benches/Cargo.toml benches/
COPY scripts/stub-sources.sh scripts/
RUN scripts/stub-sources.sh && cargo build --locked --profile dist -p service -p loadgen --features service/mongodb-srv

FROM crates AS build
ARG SLUICE_GIT_COMMIT
COPY . .
COPY --from=pages /source/service/dashboard/dist service/dashboard/dist
COPY --from=pages /source/service/dashboard/report/dist service/dashboard/report/dist
# The stubs are newer than the sources: without new times cargo would keep what it made of them.
RUN find . -path ./target -prune -o -name '*.rs' -exec touch {} + \
    && cargo build --locked --profile dist -p service -p loadgen --features service/mongodb-srv

# Images of what the binaries need and no more: no package manager, and a user without rights (65532).
# The generators of deploy/ count their shards with its small shell.
FROM gcr.io/distroless/cc-debian12:debug-nonroot AS loadgen
COPY --from=build /source/target/dist/loadgen /usr/local/bin/loadgen
COPY scenarios /scenarios
WORKDIR /tmp
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/loadgen"]

# Not even a shell.
FROM gcr.io/distroless/cc-debian12:nonroot AS service
COPY --from=build /source/target/dist/service /usr/local/bin/service
EXPOSE 8080
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/service"]
