# One image for every part: see deploy/image/README.md.
FROM debian:trixie-slim AS tools
RUN apt-get update -q \
    && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends gcc libc6-dev \
        cmake ninja-build pkg-config libuv1-dev libcurl4-openssl-dev libwebsockets-dev \
        libwebsockets-evlib-uv libyaml-dev libcjson-dev libssl-dev

FROM tools AS build
COPY . /source
RUN cmake -S /source -B /build -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF \
        -DCMAKE_INSTALL_PREFIX=/usr \
    && cmake --build /build \
    && DESTDIR=/installed cmake --install /build --strip \
    && install -m 755 -t /installed/usr/bin /source/deploy/image/vpn-openvpn

FROM debian:trixie-slim AS packages
RUN apt-get update -q \
    && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends openvpn haproxy \
        nftables iproute2 ca-certificates libuv1t64 libcurl4t64 libwebsockets19t64 \
        libwebsockets-evlib-uv libyaml-0-2 libcjson1 libssl3t64 \
    && groupadd --gid 65532 vpn \
    && useradd --uid 65532 --gid vpn --home-dir /nonexistent --no-create-home \
        --shell /usr/sbin/nologin vpn \
    && sed -i 's/^hosts:.*/hosts: files openvpn dns/' /etc/nsswitch.conf \
    && rm -rf /var/lib/apt/lists /var/cache/* /var/log/* /usr/share/doc /usr/share/man \
        /usr/share/info /usr/share/locale /usr/share/lintian /usr/share/i18n /usr/lib/*/perl* \
        /usr/share/perl* /usr/lib/udev /usr/share/zoneinfo /usr/share/bash-completion \
        /usr/lib/*/gconv /tmp/* /run/* /root/.??*

FROM packages AS runtime
COPY --from=build /installed /

# As one layer: what was thrown away does not count.
FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="openbalena-vpn" \
      org.opencontainers.image.description="A VPN for fleets of balena devices: controller, OpenVPN with its sidecar, state service, CONNECT proxy, balancer" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=runtime / /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
EXPOSE 443 3128 80
STOPSIGNAL SIGTERM
CMD ["vpn-controller", "local"]
