#!/bin/sh
# vpn-openvpn with programs in place of nft and openvpn: the wall first, or no OpenVPN.
#   test_vpn_openvpn.sh PATH-OF-VPN-OPENVPN
set -eu
command=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# It takes what does not hold the word in REFUSED, and notes it.
cat >"$folder/nft" <<'EOF'
#!/bin/sh
rules=$(cat)
case "$rules" in *"${REFUSED:-nothing}"*) exit 1 ;; esac
echo "nft $* $rules" >>"$NOTES"
EOF
cat >"$folder/openvpn" <<'EOF'
#!/bin/sh
echo "openvpn $* ${VPN_NFT_RULES-unset} ${VPN_NFT_LIMITED_RULES-unset}" >>"$NOTES"
EOF
chmod +x "$folder/nft" "$folder/openvpn"

# expect ok|fails NOTES VARIABLE=VALUE...
expect() {
    wanted=$1 notes=$2 got=ok
    shift 2
    : >"$folder/notes"
    env "$@" PATH="$folder:$PATH" NOTES="$folder/notes" sh "$command" --port 1194 2>"$folder/said" ||
        got=fails
    if [ "$got" != "$wanted" ] || [ "$(cat "$folder/notes")" != "$notes" ]; then
        echo "with $*: $got, wanted $wanted; it did:"
        cat "$folder/notes" "$folder/said"
        exit 1
    fi
}

runs="openvpn --port 1194 unset unset"
expect ok "nft -f - wall
$runs" VPN_NFT_RULES=wall
expect ok "nft -f - wall with limits
$runs" VPN_NFT_RULES=wall VPN_NFT_LIMITED_RULES="wall with limits"
expect ok "nft -f - wall
$runs" VPN_NFT_RULES=wall VPN_NFT_LIMITED_RULES="wall with limits" REFUSED=limits
expect fails "" VPN_NFT_RULES=wall VPN_NFT_LIMITED_RULES="wall with limits" REFUSED=wall
expect fails "" VPN_NFT_RULES=wall REFUSED=wall
expect fails "" VPN_NFT_LIMITED_RULES=wall
expect fails "" VPN_NFT_RULES=
echo "no wall, no OpenVPN: holds"
