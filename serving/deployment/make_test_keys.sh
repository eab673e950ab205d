#!/bin/sh
# Makes a certificate authority, a server's key and a client's key for trying TLS out, and an ssl.config for the
# server. For tests only: the authority's key lies beside them, and all of it ends after 30 days.
#
#   serving/deployment/make_test_keys.sh keys localhost
#   imgcap-serve --model_base_path=MODELS/imgcap --ssl_config_file=keys/ssl.config
#   imgcap-caption photo.jpg --tls_ca=keys/ca.pem
set -eu
folder=${1:?usage: make_test_keys.sh FOLDER [HOST]}
host=${2:-localhost}
mkdir -p "$folder"
cd "$folder"
umask 077

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
    -keyout ca.key -out ca.pem -subj "/CN=imgcap test authority" 2>/dev/null

sign() {  # sign NAME SUBJECT EXTENSION
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
        -keyout "$1.key" -out "$1.csr" -subj "/CN=$2" 2>/dev/null
    echo "$3" > "$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 \
        -extfile "$1.ext" -out "$1.pem" 2>/dev/null
    rm "$1.csr" "$1.ext"
}
sign server "$host" "subjectAltName=DNS:$host,DNS:localhost,IP:127.0.0.1"
sign client "imgcap test client" "extendedKeyUsage=clientAuth"

quoted() {  # a file as the string of a text proto
    printf '"'; awk '{printf "%s\\n", $0}' "$1"; printf '"\n'
}
{
    printf 'server_key: '; quoted server.key
    printf 'server_cert: '; quoted server.pem
    printf 'custom_ca: '; quoted ca.pem
    echo "client_verify: ${CLIENT_VERIFY:-false}"  # true: clients must show a certificate of the authority
} > ssl.config
echo "$(pwd): ca.pem for clients, ssl.config for the server; client.pem and client.key if it verifies clients"
