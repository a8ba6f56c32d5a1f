#!/bin/sh
# Makes the certificates of these tests anew. They are of no use elsewhere: the keys are public.
set -eu
cd "$(dirname "$0")"
days=36500
ec() { openssl ecparam -name prime256v1 -genkey -noout -out "$1"; }
sign() { # name, subject, extensions, more options
    name=$1 subject=$2 extensions=$3
    shift 3
    openssl req -new -key "$name.key" -subj "$subject" |
        openssl x509 -req -CA ca.crt -CAkey ca.key -extfile "$extensions" "$@" -out "$name.crt"
}
printf 'basicConstraints=CA:false\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth\n' >server.ext
printf 'basicConstraints=CA:false\nkeyUsage=digitalSignature\nextendedKeyUsage=clientAuth\n' >client.ext
ec ca.key
openssl req -x509 -new -key ca.key -subj /CN=test-ca -days $days -out ca.crt
for name in server client expired; do ec $name.key; done
sign server /CN=server server.ext -days $days
sign client /CN=client client.ext -days $days
openssl req -new -key expired.key -subj /CN=expired >expired.csr
touch index.txt
openssl ca -batch -config /dev/stdin -in expired.csr -out expired.crt -notext \
    -startdate 20200101000000Z -enddate 20210101000000Z -cert ca.crt -keyfile ca.key <<END
[ca]
default_ca = d
[d]
database = index.txt
rand_serial = yes
new_certs_dir = .
default_md = sha256
policy = p
x509_extensions = e
[p]
commonName = supplied
[e]
extendedKeyUsage = serverAuth
END
{ openssl x509 -in server.crt -text; cat ca.crt; } >chain.crt
openssl ec -in server.key -aes128 -passout pass:secret -out encrypted.key
openssl dhparam -out dh2048.pem 2048
openssl dhparam -out dh1024.pem 1024
rm -f ./*.ext ./*.csr index.txt* ca.key client.key expired.key [0-9A-F]*.pem ca.srl
