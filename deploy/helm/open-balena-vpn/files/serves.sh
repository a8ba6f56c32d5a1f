# Does the pool serve? As a device: a handshake through the front with credentials that nobody has ends in
# a refusal, which only the balena API can have given. As a caller: the CONNECT proxy refuses, too.
set -eu
uuid=$(tr -d - </proc/sys/kernel/random/uuid)
cd "${WORK_DIR:-/tmp}"
printf '%s\n%s\n' "$uuid" no-key >credentials
chmod 600 credentials

say() { echo "$(date -u +%T) $*"; }

device_is_refused() {
    timeout 40 openvpn --client --dev null --proto "$PROTO" --remote "$DEVICES_HOST" "$DEVICES_PORT" \
        --nobind --ca /etc/vpn/ca.crt --remote-cert-tls server --auth-user-pass credentials \
        --auth-nocache --connect-retry-max 1 --connect-timeout 10 --verb 3 >openvpn.log 2>&1 || true
    grep -q 'Initial packet from\|TCP connection established' openvpn.log &&
        grep -q 'AUTH_FAILED' openvpn.log && ! grep -q 'AUTH_FAILED,TEMP' openvpn.log
}

caller_is_refused() {
    answer=$(timeout 20 bash -c 'exec 3<>"/dev/tcp/$CALLERS_HOST/$CALLERS_PORT"
        printf "CONNECT %s.balena:80 HTTP/1.1\r\nHost: %s.balena:80\r\n\r\n" "$0" "$0" >&3
        head -n 1 <&3' "$uuid") || answer="no answer"
    echo "$answer" | grep -q ' 407 '
}

attempt() { # NAME WHAT TO-SHOW
    for _ in $(seq "${ATTEMPTS:-6}"); do
        if "$1"; then
            say "fine: $2"
            return 0
        fi
        say "not yet: $2"
        sleep "${PAUSE_SECONDS:-5}"
    done
    eval "$3"
    return 1
}

attempt device_is_refused "an unknown device is refused by $DEVICES_HOST:$DEVICES_PORT" 'cat openvpn.log'
if [ "$CALLERS_TLS" = false ]; then
    attempt caller_is_refused "an unknown caller is refused by $CALLERS_HOST:$CALLERS_PORT" 'echo "$answer"'
fi
