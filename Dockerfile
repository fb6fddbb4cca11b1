# One static binary in an empty image: no shell, no package manager, nothing that could be called but batchwright.
#
#   docker build -t batchwright --build-arg VERSION=$(git describe --tags --always) .

ARG GO_VERSION=1.26

FROM --platform=$BUILDPLATFORM golang:${GO_VERSION}-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG VERSION=dev
ARG TARGETOS=linux
ARG TARGETARCH
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-s -w -X main.linkedVersion=$VERSION" -o batchwright ./cmd/batchwright

FROM scratch
ARG VERSION=dev
LABEL org.opencontainers.image.title="batchwright" \
      org.opencontainers.image.description="Runs a file of prompts through the Claude Messages API: every record once" \
      org.opencontainers.image.source="https://github.com/batchwright/batchwright" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /usr/local/go/lib/time/zoneinfo.zip /zoneinfo.zip
COPY --from=build /src/batchwright /batchwright
ENV ZONEINFO=/zoneinfo.zip
# A number, so that Kubernetes can see that it is not root without reading /etc/passwd, which the image has not.
USER 65532:65532
# The root file system can be read-only; /tmp must be a tmpfs or a volume then.
ENTRYPOINT ["/batchwright"]
