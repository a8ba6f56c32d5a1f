#!/bin/bash
# The link against the real openvpn: a server in one network namespace, stock clients in another,
# link_probe on the management socket. Asserts what link_probe prints. Needs root, openvpn, openssl.
#     against_openvpn.sh LINK_PROBE
set -u
PROBE=$1
NS=mgmt-$$
DIR=$(mktemp -d /tmp/mgmt-XXXXXX)
SERVER=0
CLIENTS=()
PROBE_PID=0

if ! command -v openvpn >/dev/null || ! command -v openssl >/dev/null ||
    ! ip netns add "$NS-s" 2>/dev/null; then
    echo "needs root, openvpn, openssl and network namespaces: skipped"
    rm -rf "$DIR"
    exit 77
fi

clean() {
    for pid in "${CLIENTS[@]}" "$SERVER" "$PROBE_PID"; do
        [ "$pid" != 0 ] && kill -9 "$pid" 2>/dev/null
    done
    ip netns del "$NS-s" 2>/dev/null
    ip netns del "$NS-c" 2>/dev/null
    rm -rf "$DIR"
}
trap clean EXIT

fail() {
    echo "FAILED: $*"
    echo "--- link_probe"; cat "$DIR/told"
    echo "--- its log"; cat "$DIR/probe.log"
    echo "--- server"; tail -30 "$DIR/server.log"
    exit 1
}

# Waits until a line of what was told after the mark matches; a condition, not a time.
wait_for() {
    for _ in $(seq 300); do
        tail -n +"$MARK" "$DIR/told" | grep -qE "$1" && return 0
        sleep 0.1
    done
    fail "no '$1'"
}
mark() { MARK=$(($(wc -l <"$DIR/told") + 1)); }
never() { tail -n +"$MARK" "$DIR/told" | grep -qE "$1" && fail "there should be no '$1'"; true; }
say() { echo "$*" >&3; }
step() { echo "ok - $*"; mark; }

certificates() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ca \
        -keyout "$DIR/ca.key" -out "$DIR/ca.crt" 2>/dev/null
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=vpn.test \
        -keyout "$DIR/server.key" -out "$DIR/server.csr" 2>/dev/null
    printf 'extendedKeyUsage=serverAuth\nkeyUsage=digitalSignature,keyAgreement\n' >"$DIR/ext"
    openssl x509 -req -in "$DIR/server.csr" -CA "$DIR/ca.crt" -CAkey "$DIR/ca.key" -CAcreateserial \
        -days 2 -extfile "$DIR/ext" -out "$DIR/server.crt" 2>/dev/null
}

network() {
    ip netns add "$NS-c"
    ip link add "mgs$$" netns "$NS-s" type veth peer name "mgc$$" netns "$NS-c"
    ip -n "$NS-s" addr add 192.0.2.1/24 dev "mgs$$"
    ip -n "$NS-c" addr add 192.0.2.2/24 dev "mgc$$"
    ip -n "$NS-s" link set "mgs$$" up
    ip -n "$NS-c" link set "mgc$$" up
}

# $1: the pool's last address
start_server() {
    ip netns exec "$NS-s" openvpn --dev tun0 --dev-type tun --topology p2p \
        --ifconfig 100.64.0.1 100.64.0.2 --ifconfig-pool 100.64.0.3 "$1" \
        --route 100.64.0.0 255.255.240.0 --mode server --tls-server --proto tcp4-server \
        --local 192.0.2.1 --port 1194 --ca "$DIR/ca.crt" --cert "$DIR/server.crt" \
        --key "$DIR/server.key" --dh none --verify-client-cert none --username-as-common-name \
        --auth-user-pass-optional --management "$DIR/m.sock" unix --management-hold \
        --management-client-auth --compress migrate --keepalive 10 60 --hand-window 60 \
        --data-ciphers AES-128-GCM:AES-256-GCM --verb 3 --max-clients 10 >>"$DIR/server.log" 2>&1 &
    SERVER=$!
}

# $1: user name, $2: a number
start_client() {
    printf '%s\nkey%s\n' "$1" "$2" >"$DIR/auth$2"
    ip netns exec "$NS-c" openvpn --client --dev "tun$2" --dev-type tun --proto tcp4-client \
        --remote 192.0.2.1 1194 --nobind --ca "$DIR/ca.crt" --remote-cert-tls server \
        --auth-user-pass "$DIR/auth$2" --auth-retry none --comp-lzo --route-noexec \
        --connect-retry 1 2 --allow-compression asym --verb 3 >"$DIR/client$2.log" 2>&1 &
    CLIENT=$!
    CLIENTS+=("$CLIENT")
    disown "$CLIENT" # bash need not tell of its end
}

end_client() { # the latest
    kill -9 "$CLIENT"
    while kill -0 "$CLIENT" 2>/dev/null; do sleep 0.05; done
}

start_probe() {
    rm -f "$DIR/in"
    mkfifo "$DIR/in"
    "$PROBE" "$DIR/m.sock" <"$DIR/in" >>"$DIR/told" 2>>"$DIR/probe.log" &
    PROBE_PID=$!
    exec 3>"$DIR/in"
}

A=0123456789abcdef0123456789abcdef
B=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
C=cccccccccccccccccccccccccccccccc
D=dddddddddddddddddddddddddddddddd

: >"$DIR/told"
MARK=1
certificates
network
start_probe
wait_for '^state waiting$'
step "waits for an openvpn that is not there"

start_server 100.64.0.5
wait_for "^generation 1 pid=$SERVER\$"
wait_for '^state live$'
step "finds it, releases its hold, is live"

start_client $A 1
wait_for "^connect 0 1 user=\"$A\" password=\"key1\" from=192.0.2.2:[0-9]+ version=2\..* since=1"
wait_for "^established 0 user=\"$A\" .*address=100.64.0.3 "
wait_for '^bytes 0 in=[1-9]'
step "a device connects, is allowed, established, counted"

say policy deny
start_client $B 2
wait_for "^connect 1 1 user=\"$B\""
wait_for '^disconnect 1 '
never '^established 1'
for _ in $(seq 100); do grep -q AUTH_FAILED "$DIR/client2.log" && break; sleep 0.1; done
grep -qF 'AUTH_FAILED,no \ such "device"' "$DIR/client2.log" || fail "client 2 was told: $(grep AUTH "$DIR/client2.log")"
grep -qF 'denied by "policy"' "$DIR/server.log" || fail "nothing in the server's log"
step "another is refused, with quotes and backslashes as they were said"

say policy temp
start_client $C 3
wait_for "^connect 2 1 user=\"$C\""
wait_for '^disconnect 2 '
for _ in $(seq 100); do grep -q 'AUTH_FAILED,TEMP' "$DIR/client3.log" && break; sleep 0.1; done
grep -qF 'AUTH_FAILED,TEMP[backoff 5]:not now' "$DIR/client3.log" || fail "client 3: no TEMP"
say policy allow
wait_for "^established 3 user=\"$C\" .*address=100.64.0.4 "
step "a third is told to come again, and does"

say kill 3
wait_for '^sent$'
wait_for "^disconnect 3 user=\"$C\" .* in=[1-9]"
wait_for "^established 4 user=\"$C\" .*address=100.64.0.4 "
step "killed, it comes back under another client id"

{ kill -9 "$PROBE_PID"; wait "$PROBE_PID"; } 2>/dev/null
end_client
start_client $D 4 # its question is asked while nobody listens
for _ in $(seq 100); do grep -q "peer info: IV_VER" <(tail -8 "$DIR/server.log") && break; sleep 0.1; done
for _ in $(seq 100); do grep -q "deferred for username '$D'" "$DIR/server.log" && break; sleep 0.1; done
mark
start_probe
wait_for "^row 0 user=\"$A\" from=192.0.2.2:[0-9]+ .*address=100.64.0.3 since=1[0-9]+000 in="
wait_for '^resync-end$'
never "^row .* user=\"$C\""
never "^(row|connect|established) 5 "
wait_for "^established 6 user=\"$D\""
kill -0 "${CLIENTS[0]}" || fail "client 1 ended"
grep -c 'Initialization Sequence Completed' "$DIR/client1.log" | grep -qx 1 || fail "client 1 was disturbed"
step "restarted: finds who is there, kills whose question was lost, who comes again; others noticed nothing"

start_client $B 5
wait_for "^established 7 user=\"$B\" .*address=100.64.0.[345] "
mark
start_client $C 6 # the pool of three is empty now
wait_for "^connect 8 1 user=\"$C\""
wait_for '^disconnect 8 '
never '^established 8'
end_client
step "one for whom no address is left is killed, not reported"

{ kill -9 "$SERVER"; wait "$SERVER"; } 2>/dev/null
wait_for '^lost OpenVPN closed the connection$'
start_server 100.64.0.5
wait_for "^generation 2 pid=$SERVER\$"
wait_for '^resync-end$'
never '^row '
wait_for "^established [012] user=\"$A\""
wait_for "^established [012] user=\"$D\""
step "openvpn killed and started: a new generation, released, devices are back"

kill -USR1 "$SERVER"
wait_for "^disconnect [012] user=\"$A\""
wait_for "^generation 3 pid=$SERVER\$"
wait_for '^state resync$'
wait_for '^resync-end$'
wait_for "^established [0-9]+ user=\"$A\""
step "SIGUSR1: a hold on the same connection is a new generation, released again"

kill -STOP "$SERVER"
wait_for_long() { for _ in $(seq 6); do (wait_for "$1") >/dev/null && return; done; wait_for "$1"; }
wait_for_long "^lost no reply to 'pid' within 10 s\$"
kill -CONT "$SERVER"
wait_for '^resync-end$'
wait_for '^state live$'
step "a stopped openvpn is noticed, and found again when it goes on"

say terminate
wait_for '^sent$'
wait_for "^disconnect [0-9]+ user=\"$A\" .* in=[1-9]"
wait_for '^lost OpenVPN closed the connection$'
wait "$SERVER"
SERVER=0
step "terminated: the last counts still arrive"

say quit
wait_for '^closed$'
wait "$PROBE_PID" || fail "link_probe: status $?"
PROBE_PID=0
grep -iE 'sanitizer|runtime error' "$DIR/probe.log" && fail "sanitizer"
echo "all passed"
