# The image that "make image" builds, for those who have a container engine:
#
#   make image && docker build -t ghcr.io/waggle-mesh/waggle:dev .
FROM debian:bookworm-slim
RUN echo waggle:x:65532:65532:waggle:/:/sbin/nologin >>/etc/passwd && echo waggle:x:65532: >>/etc/group
COPY .tools/envoy /usr/bin/envoy
COPY bin/static/waggle bin/static/waggle-cni /usr/bin/
RUN for name in cilium cilium-agent cilium-dbg; do ln -s waggle /usr/bin/$name; done
LABEL org.opencontainers.image.source=https://github.com/waggle-mesh/waggle org.opencontainers.image.licenses=Apache-2.0
ENTRYPOINT ["/usr/bin/waggle"]
