#!/usr/bin/env bash
# Makes the certificates of the tests anew, with OpenSSL 3. They name nobody and are trusted by nobody; their keys are public.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The authority: a root that signs the others.
openssl ecparam -name prime256v1 -genkey -noout -out "$work/root.key"
openssl req -x509 -new -key "$work/root.key" -sha256 -days 36500 -subj "/O=Aquatint tests/CN=Aquatint test root" \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" -out root.pem

cat >"$work/ca.cnf" <<'CNF'
[ca]
default_ca = root
[root]
policy = any
rand_serial = yes
default_md = sha256
unique_subject = no
[any]
organizationName = supplied
commonName = supplied
[signing]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = emailProtection
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[server]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
CNF

# certify NAME EXTENSIONS START END: a certificate for NAME.key. The root is no part of a chain, as C2PA asks.
certify() {
    : >"$work/index.txt"
    openssl req -new -key "$1.key" -subj "/O=Aquatint tests/CN=Aquatint test signer" -out "$work/$1.csr"
    openssl ca -batch -notext -config "$work/ca.cnf" -extensions "$2" -startdate "$3" -enddate "$4" \
        -cert root.pem -keyfile "$work/root.key" -outdir "$work" \
        -in "$work/$1.csr" -out "$1.pem" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
}
sed -i "s|^policy = any|policy = any\ndatabase = $work/index.txt|" "$work/ca.cnf"

openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out es256.key
openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out es384.key
openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -out es512.key
openssl genpkey -quiet -algorithm ED25519 -out ed25519.key
openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out ps256.key
openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out other.key
for name in es256 es384 es512 ed25519 ps256; do
    certify "$name" signing 20200101000000Z 21200101000000Z
done
# What is refused: a certificate of another use, one that has expired, one that signed itself, and a key under a password.
cp es256.key expired.key
certify expired signing 20200101000000Z 20210101000000Z
cp es256.key server.key
certify server server 20200101000000Z 21200101000000Z
rm expired.key server.key
openssl req -x509 -new -key es256.key -sha256 -days 36500 -subj "/O=Aquatint tests/CN=Aquatint test signer" \
    -addext "keyUsage=critical,digitalSignature" -addext "extendedKeyUsage=emailProtection" -out self-signed.pem
openssl pkcs8 -topk8 -in es256.key -passout pass:aquatint -out encrypted.key
openssl pkey -traditional -in es256.key -out sec1.key
chmod 644 ./*.key
