# Two images from one file: `--target supercargo`, the product, and `--target emulator`, what stands in for Azure in demos
# and tests. A release pins both bases by digest.
#   docker build --target supercargo -t supercargo .
# Where nothing can be pulled, scripts/image.ts brings bases of its own by build argument, and bundles made on the machine
# by `--build-context dist=dist`, which replaces the stage `dist` and so leaves out the stage `build`.
ARG BUILD_IMAGE=docker.io/library/node:24-trixie-slim
ARG RUNTIME_IMAGE=gcr.io/distroless/nodejs24-debian13:nonroot

FROM --platform=$BUILDPLATFORM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
RUN --mount=type=cache,target=/root/.npm npm ci --ignore-scripts
COPY tsconfig.json rolldown.config.ts ./
COPY operator/ operator/
COPY services/ services/
COPY docs/sample/ docs/sample/
RUN npm run build

FROM scratch AS dist
COPY --from=build /src/dist/ /

FROM ${RUNTIME_IMAGE} AS runtime
# Node picks a heap of 259 MB in any container below 256 MiB and is killed before it collects; it reads this at start only.
ENV NODE_ENV=production \
    NODE_OPTIONS=--max-old-space-size-percentage=75
WORKDIR /app
COPY --from=dist package.json ./
# A number, as the kubelet cannot tell whether a name is root.
USER 65532:65532

FROM runtime AS emulator
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="supercargo-emulator" \
      org.opencontainers.image.description="Stands in for the metering API and IMDS of the Microsoft Marketplace; never in production" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Metering, control, IMDS, metering over HTTPS.
EXPOSE 8080 8081 8082 8443
COPY --from=dist emulator.js orders.js ./
ENTRYPOINT ["/nodejs/bin/node"]
CMD ["/app/emulator.js"]

# The last stage is what a build without --target makes.
FROM runtime AS supercargo
ARG RUNTIME_IMAGE
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="supercargo" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${RUNTIME_IMAGE}"
COPY --from=dist operator.js gateway.js orchestrator.js sidecar.js reporter.js ./
ENTRYPOINT ["/nodejs/bin/node"]
CMD ["/app/operator.js"]
