# syntax=docker/dockerfile:1
# The service:            docker build -t sluice-service .
# The load generator:     docker build -t sluice-loadgen --target loadgen .
FROM node:22-bookworm-slim AS pages
WORKDIR /source/service/dashboard
COPY service/dashboard/package.json service/dashboard/package-lock.json service/dashboard/.npmrc ./
RUN npm ci
COPY service/dashboard .
RUN npm run build

FROM rust:1.88-bookworm AS build
WORKDIR /source
COPY . .
COPY --from=pages /source/service/dashboard/dist service/dashboard/dist
RUN cargo build --locked --release -p service -p loadgen

FROM debian:bookworm-slim AS base
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --no-create-home --uid 10001 sluice
USER sluice

FROM base AS loadgen
COPY --from=build /source/target/release/loadgen /usr/local/bin/loadgen
COPY scenarios /scenarios
ENTRYPOINT ["loadgen"]

FROM base AS service
COPY --from=build /source/target/release/service /usr/local/bin/service
EXPOSE 8080
ENTRYPOINT ["service"]
