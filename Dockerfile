# syntax=docker/dockerfile:1
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
RUN cargo build --locked --release -p service

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --no-create-home sluice
COPY --from=build /source/target/release/service /usr/local/bin/service
USER sluice
EXPOSE 8080
ENTRYPOINT ["service"]
