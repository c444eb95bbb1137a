# shellcheck shell=bash
# The keys and certificates of one control plane.
#
# shellcheck disable=SC2154 # here comes from folder.sh

# Longer than anybody leaves `make up` running; nothing renews them.
CERTIFICATE_DAYS=365

# make_pki FOLDER
#
#   ca                  signs all the others; who it vouches for is an admin, so it belongs to this control plane alone
#   apiserver           server
#   admin, controllers  clients, with the user names and groups that Kubernetes' own roles know
#   etcd                both: etcd listens on a port that every user of this machine can reach, and holds all Secrets
#   serviceaccounts     signs tokens of ServiceAccounts: RSA, as almost every real cluster has
make_pki() {
	mkdir -p "$1"
	issue "$1" ca ca /CN=postern-controlplane
	issue "$1" apiserver server /CN=kube-apiserver
	issue "$1" admin client /O=system:masters/CN=admin
	issue "$1" controllers client /CN=system:kube-controller-manager
	issue "$1" etcd etcd /CN=etcd
	quietly openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$1/serviceaccounts.key"
	openssl pkey -in "$1/serviceaccounts.key" -pubout -out "$1/serviceaccounts.pub"
}

# issue FOLDER NAME EXTENSIONS SUBJECT makes NAME.key and NAME.crt. ECDSA P-256: milliseconds, RSA takes a second.
issue() {
	local folder=$1 name=$2 extensions=$3 subject=$4 signer=()
	[[ $name == ca ]] || signer=(-CA "$folder/ca.crt" -CAkey "$folder/ca.key")
	quietly openssl req -x509 -config "$here/openssl.cnf" -extensions "$extensions" -subj "$subject" \
		-newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days "$CERTIFICATE_DAYS" "${signer[@]}" \
		-keyout "$folder/$name.key" -out "$folder/$name.crt"
}
