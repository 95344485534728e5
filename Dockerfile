# syntax=docker/dockerfile:1
FROM rust:1.88-bookworm AS build
WORKDIR /source
COPY . .
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
